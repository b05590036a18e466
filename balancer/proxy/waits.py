"""How long an exchange has waited for a slot, and for connections: for the access log.

Made when an exchange of a client waits for the first time, so that those that never do have nothing of it.
"""

from typing import Final

NOTHING_NS: Final = -1


class Waits:
    """Times are in ns on the monotonic clock. What was measured for an earlier exchange, known by when that
    started, is forgotten when the next one waits."""

    __slots__ = ("_connect_ns", "_connecting_since_ns", "_of_ns", "_queue_ns", "_queued_since_ns")

    def __init__(self) -> None:
        self._of_ns = NOTHING_NS  # when the exchange started whose waits these are
        self._queue_ns = NOTHING_NS
        self._queued_since_ns = NOTHING_NS
        self._connect_ns = NOTHING_NS
        self._connecting_since_ns = NOTHING_NS

    def queue(self, started_ns: int, now_ns: int) -> None:
        """The exchange that started then begins to wait for a slot."""
        self._be_of(started_ns)
        self._queued_since_ns = now_ns

    def queued(self, now_ns: int) -> None:
        """It waits no longer for a slot."""
        if self._queued_since_ns >= 0:
            self._queue_ns = max(0, self._queue_ns) + now_ns - self._queued_since_ns
            self._queued_since_ns = NOTHING_NS

    def connect(self, started_ns: int, now_ns: int) -> None:
        """The exchange that started then needs a new connection."""
        self._be_of(started_ns)
        self._connecting_since_ns = now_ns

    def connected(self, now_ns: int) -> None:
        """It needs none any longer."""
        if self._connecting_since_ns >= 0:
            self._connect_ns = max(0, self._connect_ns) + now_ns - self._connecting_since_ns
            self._connecting_since_ns = NOTHING_NS

    def is_of(self, started_ns: int) -> bool:
        """Whether the exchange that started then has waited for anything."""
        return self._of_ns == started_ns

    def queue_ns(self, started_ns: int) -> int:
        """How long the exchange that started then has waited for slots; -1 if it has not."""
        return self._queue_ns if self._of_ns == started_ns else NOTHING_NS

    def connect_ns(self, started_ns: int) -> int:
        """How long it has waited for new connections; -1 if it has not."""
        return self._connect_ns if self._of_ns == started_ns else NOTHING_NS

    def _be_of(self, started_ns: int) -> None:
        if self._of_ns != started_ns:
            self._of_ns = started_ns
            self._queue_ns = self._connect_ns = NOTHING_NS
            self._queued_since_ns = self._connecting_since_ns = NOTHING_NS
