"""What the supervisor needs of the settings (L7), without the models that they were checked with.

It crosses a pipe once: the settings are read by a process of their own (`reader`).
"""

from collections.abc import Mapping
from typing import TypeAlias

from balancer.config.address import Address
from balancer.config.exported import Exported
from balancer.runtime.certificate_sources import TlsPlan, UpstreamTlsPlan
from balancer.spec.instance import InstanceSpec
from balancer.spec.part import Decoder, Part
from balancer.spec.worker import Level


class Notice(Part, frozen=True):
    """A line for the log at the start."""

    level: Level
    text: str


class ReloadPlan(Part, frozen=True, kw_only=True):
    """How settings are taken up while the instance runs; in seconds. `drain`: for how long replaced workers
    may live on; `ready`: how long the first new one may take; `watched`: the files that are reloaded when
    they change, none if that is off."""

    drain: float
    ready: float
    watched: tuple[str, ...] = ()


class Plan(Part, frozen=True, kw_only=True, tag="plan"):
    """`drain_delay` is in seconds; `admin_token` is "" if there is none; `config` is what the admin API
    shows; `tls` is None if there is no TLS listener. `models` are the settings in a form that only
    `planning` reads, to compare them with later ones. `from_environment` names the variables that are set.
    `registration_tokens`: by pool, those of its apps."""

    instance: InstanceSpec
    listen: Address
    admin_listen: Address
    admin_hosts: tuple[str, ...]
    admin_token: str
    drain_delay: float
    config: Exported
    notices: tuple[Notice, ...]
    reload: ReloadPlan
    state_file: str
    models: bytes
    from_environment: tuple[str, ...]
    tls: TlsPlan | None = None
    upstream_tls: tuple[UpstreamTlsPlan, ...] = ()
    registration_tokens: Mapping[str, str] = {}

    @property
    def listens(self) -> list[Address]:
        """The addresses of the listeners by the settings, the plain one first."""
        return [self.listen, *([] if self.tls is None else [self.tls.listen])]


class Refused(Part, frozen=True, tag="refused"):
    """The settings are wrong: a line for each problem."""

    problems: tuple[str, ...]


class Changed(Part, frozen=True, kw_only=True):
    """A setting that differs: `path` as in `SettingChange`; values as in a settings file, None for none,
    secrets masked. `how`: `live`, `new_workers`, or `restart`."""

    path: str
    before: str | None
    after: str | None
    how: str


class Reread(Part, frozen=True, kw_only=True, tag="reread"):
    """Settings that were read again, and what they change."""

    plan: Plan
    changes: tuple[Changed, ...]


_Read: TypeAlias = Plan | Refused | Reread


def decode(data: bytes) -> _Read:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[_Read](_Read).decode(data)
