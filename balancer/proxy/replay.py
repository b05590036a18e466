"""The raw request body, kept so that it can be sent to another upstream.

The exchange keeps what it writes to an upstream until a response has begun.
"""

from collections.abc import Sequence
from typing import Final

# Bytes, for all requests of a worker together: bounds the memory that replay takes.
MOST_KEPT: Final = 64 << 20
_NOTHING: Final[list[bytes]] = []  # shared by all replays without a body; never changed


class ReplayMemory:
    """How many bytes of request bodies a worker currently keeps."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Replay:
    """For one exchange at a time. `dropped`: the body was too large to keep, so it cannot be sent again."""

    __slots__ = ("_memory", "_pieces", "_size", "dropped")

    def __init__(self, memory: ReplayMemory) -> None:
        self._memory = memory
        self._pieces = _NOTHING
        self._size = 0
        self.dropped = False

    def keep(self, pieces: Sequence[bytes], most: int) -> None:
        """Keep `pieces`, which are being written to an upstream; at most `most` bytes in all."""
        if self.dropped:
            return
        if not self._pieces:
            self._forget()  # `pieces` contain what `take` returned for this upstream
            self._pieces = []
        size = sum(map(len, pieces), 0)
        if self._size + size > most or self._memory.bytes + size > MOST_KEPT:
            self.drop()
            return
        self._pieces += pieces
        self._size += size
        self._memory.bytes += size

    def take(self) -> list[bytes]:
        """Take out the body to write it to the next upstream. It still counts as kept until `keep` is called
        for that write."""
        pieces, self._pieces = self._pieces, _NOTHING
        return pieces

    def drop(self) -> None:
        """Stop keeping this body."""
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
