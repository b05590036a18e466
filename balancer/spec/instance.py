"""What an instance is (L1): its workers, and what the supervisor does itself.

Made from the settings alone, so that a reload compares two values (`diff`).
"""

from balancer.spec.part import Part
from balancer.spec.worker import WorkerSpec


class UpstreamSpec(Part, frozen=True, kw_only=True):
    """One upstream as the settings name it; `host` is a name or an IP address."""

    id: str
    host: str
    port: int
    weight: int
    backup: bool


class NameSpec(Part, frozen=True, kw_only=True):
    """A name with an upstream at each of its addresses; looked up every `refresh` seconds."""

    id: str
    host: str
    port: int
    weight: int
    backup: bool
    refresh: float


class CheckSpec(Part, frozen=True, kw_only=True):
    """Active checks of a pool; durations in seconds.

    `path` may have a query; it is sent without dot segments, and escaped where it needs to be. `expect` are
    ranges of status codes, both ends included. `body` is text the response must contain, "" for none. `port`
    0 is the upstream's own. `headers` are sent besides ours, and win over them. `drain_status` is the status
    by which an app announces that it wants no new work, 0 for none.
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
        """Whether a response with this status says that the app wants no new work."""
        return self.drain_status != 0 and status == self.drain_status

    @property
    def shown_path(self) -> str:
        """The path for people: without its query, which may hold a secret."""
        return self.path.partition("?")[0]

    @property
    def expected(self) -> str:
        """The statuses that pass, as the setting spells them."""
        return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in self.expect)


class EjectionSpec(Part, frozen=True, kw_only=True):
    """How outliers are ejected: times in seconds; `max_percent` of a pool's upstreams."""

    time: float
    max_time: float
    max_percent: int


class SupervisedPool(Part, frozen=True, kw_only=True):
    """Who belongs to a pool, and how it is looked after. `max_inflight` is what each upstream may have from
    all workers together, 0 for no cap. `check` is None where there are no active checks."""

    name: str
    upstreams: tuple[UpstreamSpec, ...]
    names: tuple[NameSpec, ...]
    max_inflight: int
    check: CheckSpec | None
    ejection: EjectionSpec


class InstanceSpec(Part, frozen=True, kw_only=True):
    """`worker` needs new workers where it changes; all else changes while they run. Each pool is in both."""

    worker: WorkerSpec
    pools: tuple[SupervisedPool, ...]
