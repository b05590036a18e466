"""What a ClientHello asks for, of what is needed before OpenSSL reads it: a pure function of its bytes."""

from typing import Final, NamedTuple

_RECORD_HEADER: Final = 5  # type, version, length (RFC 8446 section 5.1)
_CLIENT_HELLO: Final = 1
_BEFORE_SESSION: Final = 2 + 32  # version and random
_SERVER_NAME: Final = 0  # RFC 6066 section 3
_HOST_NAME: Final = 0
_ALPN: Final = 16  # RFC 7301 section 3.1


class Hello(NamedTuple):
    """The server name, "" for none, and the protocols that are offered (ALPN), () for none."""

    name: str
    protocols: tuple[bytes, ...]


class _Reader:
    """Takes fields from `data`, whose end must not be passed: ValueError."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end

    @property
    def more(self) -> bool:
        return self._at < self._end

    def number(self, size: int) -> int:
        """A number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        start = self._at
        if size > self._end - start:
            raise ValueError("a field ends beyond what it is in")
        self._at = start + size
        return self._data[start : start + size]

    def vector(self, size: int) -> "_Reader":
        """What is in a field whose length is a number of `size` bytes."""
        length = self.number(size)
        start = self._at
        self.take(length)
        return _Reader(self._data, start, start + length)

    def rest(self) -> bytes:
        return self.take(self._end - self._at)


def read_hello(data: bytes) -> Hello | None:
    """What is in the first record of `data`; None unless that is one whole ClientHello, without a mistake."""
    try:
        return _read(data)
    except ValueError:
        return None


def _read(data: bytes) -> Hello:
    """Raises ValueError."""
    size = int.from_bytes(data[3:_RECORD_HEADER], "big")
    record = _Reader(data[: _RECORD_HEADER + size], _RECORD_HEADER, _RECORD_HEADER + size)
    if len(data) < _RECORD_HEADER + size or record.number(1) != _CLIENT_HELLO:
        raise ValueError("not a whole record with a ClientHello")
    hello = record.vector(3)
    hello.take(_BEFORE_SESSION)
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compressions
    name = ""
    protocols: tuple[bytes, ...] = ()
    if hello.more:
        extensions = hello.vector(2)
        if hello.more or record.more:
            raise ValueError("something follows the ClientHello")
        name, protocols = _extensions(extensions)
    return Hello(name, protocols)


def _extensions(reader: _Reader) -> tuple[str, tuple[bytes, ...]]:
    name = ""
    protocols: tuple[bytes, ...] = ()
    seen: set[int] = set()
    while reader.more:
        kind = reader.number(2)
        if kind in seen:
            raise ValueError("an extension is there twice")
        seen.add(kind)
        body = reader.vector(2)
        if kind == _SERVER_NAME:
            name = _name(body)
        elif kind == _ALPN:
            protocols = _protocols(body)
    return name, protocols


def _name(body: _Reader) -> str:
    names = body.vector(2)
    kind, name = names.number(1), names.vector(2).rest()
    if kind != _HOST_NAME or names.more or body.more:
        raise ValueError("not one host name")
    return name.decode("ascii").lower()  # UnicodeDecodeError is a ValueError


def _protocols(body: _Reader) -> tuple[bytes, ...]:
    names = body.vector(2)
    found: list[bytes] = []
    while names.more:
        found.append(names.vector(1).rest())
    if body.more or not all(found):
        raise ValueError("not a list of protocols")
    return tuple(found)
