"""What the admin application sees of the instance (L5): asked for, never reached into."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """One upstream now. Counts are sums over all workers since the start of the instance."""

    id: str
    address: str  # IP address and port, "" while its name has not resolved
    weight: int
    inflight: int
    idle_connections: int
    requests: int
    codes: dict[str, int]  # status code -> responses, zeros left out
    first_byte_buckets: list[int]  # one counter per bound, not cumulated, the last one for all above
    first_byte_sum: float  # seconds


@dataclass(frozen=True, slots=True)
class PoolView:
    """One upstream pool with its upstreams, in the order of the settings."""

    name: str
    policy: str
    upstreams: list[UpstreamView]


class Instance(Protocol):
    """The running instance."""

    def unready(self) -> list[str]:
        """A sentence for each reason why it should get no traffic; none when ready."""

    def pools(self) -> list[PoolView]:
        """The state of all pools. Blocking: sums the stats segment; called in a thread."""

    def scrape(self) -> bytes:
        """The metrics in Prometheus' text format. Blocking; called in a thread."""
