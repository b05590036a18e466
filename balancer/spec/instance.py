"""The spec of an instance (L1): its workers, and what the supervisor does itself.

It is derived from the settings alone, so that a reload compares two values (`diff`).
"""

from typing import TypeAlias

from balancer.edges import DEFAULT
from balancer.spec.part import Part
from balancer.spec.slo import SloSpec
from balancer.spec.worker import WorkerSpec


class UpstreamSpec(Part, frozen=True, kw_only=True):
    """One upstream from the settings; `host` is a name or an IP address. `server_name`: whom it must prove to
    be, by TLS; "" for plain HTTP."""

    id: str
    host: str
    port: int
    weight: int
    backup: bool
    server_name: str = ""


class NameSpec(Part, frozen=True, kw_only=True, tag="dns"):
    """A name that resolves to one upstream per address; looked up every `refresh` seconds. `server_name` as
    for one upstream."""

    id: str
    host: str
    port: int
    weight: int
    backup: bool
    refresh: float
    server_name: str = ""


class ServiceSpec(Part, frozen=True, kw_only=True, tag="srv"):
    """A name whose SRV records list upstreams; looked up every `refresh` seconds at `nameserver`, an IP
    address and a port, "" for the system's. `backup`: all of them are. `server_name` as for one upstream."""

    id: str
    host: str
    backup: bool
    refresh: float
    nameserver: str = ""
    server_name: str = ""


class MembersFileSpec(Part, frozen=True, kw_only=True, tag="file"):
    """A file that lists upstreams. `server_name`: whom those must prove to be that it lists with TLS; "" for
    their own addresses."""

    id: str
    path: str
    server_name: str = ""


class OwnSourceSpec(Part, frozen=True, kw_only=True, tag="own"):
    """An entry for an installed source; its `id` is its text. `server_name` as for a file."""

    id: str
    server_name: str = ""


FindingSpec: TypeAlias = NameSpec | ServiceSpec | MembersFileSpec | OwnSourceSpec  # each finds upstreams


class CheckSpec(Part, frozen=True, kw_only=True):
    """Active checks of a pool; durations in seconds.

    `path` may have a query; it is sent without dot segments, and escaped where needed. `expect` has ranges of
    status codes, inclusive. `body` is text the response must contain, "" for none. `port` 0 is the upstream's
    own. `headers` are sent in addition to the default ones and override them. `drain_status` is the status by
    which an app announces that it takes no new work, 0 for none.
    """

    path: str
    interval: float
    timeout: float
    rise: int
    fall: int
    expect: tuple[tuple[int, int], ...]
    body: str
    port: int
    headers: tuple[tuple[str, str], ...]
    drain_status: int

    def expects(self, status: int) -> bool:
        """Whether a response with this status passes."""
        return any(low <= status <= high for low, high in self.expect)

    def announces_drain(self, status: int) -> bool:
        """Whether a response with this status announces that the app takes no new work."""
        return self.drain_status != 0 and status == self.drain_status

    @property
    def shown_path(self) -> str:
        """The path for display: without its query, which may contain a secret."""
        return self.path.partition("?")[0]

    @property
    def expected(self) -> str:
        """The statuses that pass, in the syntax of the setting."""
        return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in self.expect)


class EjectionSpec(Part, frozen=True, kw_only=True):
    """How outliers are ejected: times in seconds; at most `max_percent` of a pool's upstreams."""

    time: float
    max_time: float
    max_percent: int


class SupervisedPool(Part, frozen=True, kw_only=True):
    """A pool's members, and the entries in `names` that find further ones; their checks and ejection rules.
    `max_inflight` is the cap of each upstream for all workers together, 0 for no cap. `check` is None if
    there are no active checks."""

    name: str
    upstreams: tuple[UpstreamSpec, ...]
    names: tuple[FindingSpec, ...]
    max_inflight: int
    check: CheckSpec | None
    ejection: EjectionSpec


class InstanceSpec(Part, frozen=True, kw_only=True):
    """What a change of it takes: `spec.diff`. Each pool is in both. `buckets` are the bounds of histograms in
    the metrics, in seconds; those that are counted are the worker's."""

    worker: WorkerSpec
    pools: tuple[SupervisedPool, ...]
    slos: tuple[SloSpec, ...] = ()
    buckets: tuple[float, ...] = DEFAULT
