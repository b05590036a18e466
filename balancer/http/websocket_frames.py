"""Where the frames of a WebSocket end, among bytes that are relayed unchanged (L1; RFC 6455 section 5.2).

Only lengths are read. A frame of our own may stand between two frames, and nowhere else.
"""

from typing import Final

_MASKED: Final = 0x80
_SHORT: Final = 125  # lengths up to this are in the second byte; 126 and 127: 2 or 8 more bytes hold it

# An unmasked Close frame, as servers send it. 1012 is "service restart" in IANA's registry of close codes.
SERVICE_RESTART: Final = b"\x88\x02" + (1012).to_bytes(2, "big")


class FrameEnds:
    """Follows what a server sends, which is not masked. `between`: the next byte begins a frame;
    `lost`: these are no frames of a server, and nothing more is known."""

    __slots__ = ("_left", "_start", "between", "lost")

    def __init__(self) -> None:
        self._left = 0  # bytes of the payload of the frame that has begun, which are still to come
        self._start = b""  # of a frame, less than what gives its length
        self.between = True
        self.lost = False

    def passed(self, data: bytes) -> None:
        """`data` has been relayed. For one whole frame after another one this need not be called."""
        if self.lost:
            return
        if self._start:
            data = self._start + data
            self._start = b""
        size = len(data)
        end = self._left
        while end < size:
            if size - end > 1 and data[end + 1] <= _SHORT:  # no call: there may be 100,000 in a read
                end += data[end + 1] + 2
                continue
            length = _length(data, end, size)
            if length < 2:
                self.between = False
                self.lost = length == 1
                self._left = 0
                self._start = b"" if self.lost else data[end:]
                return
            end += length
        self._left = end - size
        self.between = end == size

    def first_end(self, data: bytes) -> int:
        """Where in `data`, which comes next, the frame that has begun ends; -1 if it ends later."""
        if self.lost:
            return -1
        end = self._left
        if self._start:
            length = _length(self._start + data, 0, len(self._start) + len(data))
            if length < 2:
                return -1
            end = length - len(self._start)
        return end if end <= len(data) else -1


def _length(data: bytes, start: int, size: int) -> int:
    """The length of the frame that begins at `start`, its head included. 0: too little is there to tell; 1:
    it is none."""
    if size - start < 2:
        return 0
    length = data[start + 1]
    if length <= _SHORT:
        return length + 2
    if length & _MASKED:
        return 1
    if length == 126:
        return (data[start + 2] << 8) + data[start + 3] + 4 if size - start >= 4 else 0
    if size - start < 10:
        return 0
    if data[start + 2] & 0x80:
        return 1
    return int.from_bytes(data[start + 2 : start + 10], "big") + 10
