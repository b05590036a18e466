"""What is kept of a request's body, raw, so that it can be sent to another upstream.

Beside the way of a request: the exchange keeps what it writes to an upstream, until a response has begun.
"""

from collections.abc import Sequence

# Of all requests of a worker together: what is kept for replay must not become its memory's problem.
MOST_KEPT = 64 << 20
_NOTHING: list[bytes] = []  # what most keep, and nobody changes


class ReplayMemory:
    """How many bytes of request bodies a worker keeps."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Replay:
    """Of one exchange at a time. `dropped`: the body was too large to be kept, so it cannot go again."""

    __slots__ = ("_memory", "_pieces", "_size", "dropped")

    def __init__(self, memory: ReplayMemory) -> None:
        self._memory = memory
        self._pieces = _NOTHING
        self._size = 0
        self.dropped = False

    def keep(self, pieces: Sequence[bytes], most: int) -> None:
        """These are being written to an upstream; keep at most `most` bytes in all."""
        if self.dropped:
            return
        if not self._pieces:
            self._forget()  # what was taken for the next upstream is now among these
            self._pieces = []
        size = sum(map(len, pieces))
        if self._size + size > most or self._memory.bytes + size > MOST_KEPT:
            self.drop()
            return
        self._pieces += pieces
        self._size += size
        self._memory.bytes += size

    def take(self) -> list[bytes]:
        """What is to be written to the next upstream: kept anew when that happens, and counted as kept until
        then."""
        pieces, self._pieces = self._pieces, _NOTHING
        return pieces

    def drop(self) -> None:
        """It is kept no more."""
        self._forget()
        self.dropped = True

    def end(self) -> None:
        """The exchange is over, or a response has begun."""
        self._forget()
        self.dropped = False

    def _forget(self) -> None:
        self._memory.bytes -= self._size
        self._size = 0
        self._pieces = _NOTHING
