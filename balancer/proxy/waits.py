"""How long an exchange has waited for a slot, and for connections: for the access log and for traces."""

from typing import Final

NEVER: Final = -1


class Waits:
    """Made when an exchange waits for the first time, so that those that never do have nothing of it.
    `queue_ns` and `connect_ns` are how long it has waited so far, NEVER if it has not. Times are in ns on the
    monotonic clock."""

    __slots__ = ("_connecting_since_ns", "_queued_since_ns", "connect_ns", "queue_ns")

    def __init__(self) -> None:
        self.queue_ns = NEVER
        self.connect_ns = NEVER
        self._queued_since_ns = NEVER
        self._connecting_since_ns = NEVER

    def queue(self, now_ns: int) -> None:
        """It begins to wait for a slot."""
        self._queued_since_ns = now_ns

    def queued(self, now_ns: int) -> None:
        """It waits no longer for a slot."""
        if self._queued_since_ns != NEVER:
            self.queue_ns = max(0, self.queue_ns) + now_ns - self._queued_since_ns
            self._queued_since_ns = NEVER

    def connect(self, now_ns: int) -> None:
        """It needs a new connection."""
        self._connecting_since_ns = now_ns

    def connected(self, now_ns: int) -> None:
        """It needs none any longer."""
        if self._connecting_since_ns != NEVER:
            self.connect_ns = max(0, self.connect_ns) + now_ns - self._connecting_since_ns
            self._connecting_since_ns = NEVER
