"""What a client has sent ahead of the request being served."""

# Not yet a request: old clients end a body with CRLF (RFC 9112 section 2.2).
_NO_HEAD = (b"", b"\r", b"\r\n")


class ReadAhead:
    """Bytes read, but not looked at: `data` from `start` on, so that pipelined requests are not copied."""

    __slots__ = ("data", "start")

    def __init__(self) -> None:
        self.data = b""
        self.start = 0

    def __len__(self) -> int:
        return len(self.data) - self.start

    def holds_head(self) -> bool:
        """Whether some of a request is here."""
        return len(self) > 2 or self.data[self.start :] not in _NO_HEAD

    def put(self, data: bytes, start: int) -> None:
        """Hold `data` from `start` on, in the place of what was held, and no more than twice as much."""
        if start > len(data) >> 1:
            data, start = data[start:], 0
        self.data = data
        self.start = start

    def take(self) -> bytes:
        """All that is held; nothing is from now on."""
        data = self.data[self.start :]
        self.put(b"", 0)
        return data
