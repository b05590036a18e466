"""What the supervisor needs of the settings (L7), without the models that they were checked with.

It crosses a pipe once: the settings are read by a process of their own (`reader`).
"""

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


class Plan(Part, frozen=True, kw_only=True, tag=True):
    """`drain_delay` is in seconds; `admin_token` is "" if there is none; `config` is what the admin API
    shows; `tls` is None if there is no TLS listener."""

    instance: InstanceSpec
    listen: Address
    admin_listen: Address
    admin_hosts: tuple[str, ...]
    admin_token: str
    drain_delay: float
    config: Exported
    notices: tuple[Notice, ...]
    tls: TlsPlan | None = None
    upstream_tls: tuple[UpstreamTlsPlan, ...] = ()


class Refused(Part, frozen=True, tag=True):
    """The settings are wrong: a line for each problem."""

    problems: tuple[str, ...]


_Read: TypeAlias = Plan | Refused


def decode(data: bytes) -> _Read:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[_Read](_Read).decode(data)
