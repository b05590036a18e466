"""What a client has sent after the request that is being served."""

from typing import Final

# Not a request yet: old clients send CRLF after a body (RFC 9112 section 2.2).
_NO_HEAD: Final = (b"", b"\r", b"\r\n")


class ReadAhead:
    """Bytes read but not parsed: `data` from `start` on, so that pipelined requests are not copied."""

    __slots__ = ("data", "start")

    def __init__(self) -> None:
        self.data = b""
        self.start = 0

    def __len__(self) -> int:
        return len(self.data) - self.start

    def holds_head(self) -> bool:
        """Whether a part of a request has arrived."""
        return len(self) > 2 or self.data[self.start :] not in _NO_HEAD

    def put(self, data: bytes, start: int) -> None:
        """Replace the content by `data` from `start` on. Keeps no more than twice those bytes in memory."""
        if start > len(data) >> 1:
            data, start = data[start:], 0
        self.data = data
        self.start = start

    def take(self) -> bytes:
        """Return the content, and hold nothing."""
        data = self.data[self.start :]
        self.put(b"", 0)
        return data
