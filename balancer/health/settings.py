"""What one pool's active checks are to do (L4), as plain values."""

from dataclasses import dataclass

# A check has TIMEOUT of our own good time: what our event loop is late, by more than a beat, is added to it.
# But no more than this many times TIMEOUT in all.
MOST_TIMEOUTS = 2


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """The settings of one pool's active checks; durations in seconds.

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

    @property
    def found_within(self) -> float:
        """Seconds after which an upstream that answers nothing any more has been ejected, our own lateness
        included."""
        return self.fall * self.interval + MOST_TIMEOUTS * self.timeout

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
