"""What the first bytes of a connection to a TLS listener are: pure functions of these bytes."""

import re
from enum import IntEnum
from typing import Final, NamedTuple

from balancer.errors import ProtocolError
from balancer.http.edits import plain_authority
from balancer.http.syntax import COMMON_METHODS
from balancer.http.target import check_host

_HANDSHAKE: Final = 0x16  # the type of a TLS record (RFC 8446 section 5.1)
_MAJOR: Final = 3  # of its version, in all of SSL 3.0 to TLS 1.3
_HEADER: Final = 5  # bytes: type, version, length
_MOST_FRAGMENT: Final = 1 << 14
MOST_PEEKED: Final = _HEADER + _MOST_FRAGMENT

_MOST_READ: Final = 4096  # bytes of a plain request
_REQUEST_LINE: Final = re.compile(rb"[A-Z]+ (/[!-~]*) HTTP/1\.[01]\r\n")
_HOST: Final = re.compile(rb"\r\nhost:([^\r\n]*)\r\n", re.IGNORECASE)
_HTTPS_PORT: Final = 443

_METHODS: Final = tuple([method + b" " for method in sorted(COMMON_METHODS)])


class Opening(IntEnum):
    """How a client opens the conversation."""

    TLS = 0
    HTTP = 1  # without TLS
    OTHER = 2
    UNKNOWN = 3  # too few bytes to say, or an incomplete TLS record


class FirstBytes(NamedTuple):
    """`wanted`: how many bytes there must be before a closer look, if it is UNKNOWN."""

    opening: Opening
    wanted: int = 0


_TLS: Final = FirstBytes(Opening.TLS)
_HTTP: Final = FirstBytes(Opening.HTTP)
_OTHER: Final = FirstBytes(Opening.OTHER)


def look_at(data: bytes) -> FirstBytes:
    """What `data`, up to MOST_PEEKED bytes that a client sent first, begins.

    It is TLS only with the whole first record: a client that sends half a ClientHello must not take the place
    of a handshake.
    """
    size = len(data)
    if not size:
        return FirstBytes(Opening.UNKNOWN, 1)
    if data[0] == _HANDSHAKE:
        if size > 1 and data[1] != _MAJOR:
            return _OTHER
        if size < _HEADER:
            return FirstBytes(Opening.UNKNOWN, _HEADER)
        wanted = _HEADER + (data[3] << 8) + data[4]
        if wanted == _HEADER or wanted > MOST_PEEKED:
            return _OTHER
        return _TLS if size >= wanted else FirstBytes(Opening.UNKNOWN, wanted)
    for method in _METHODS:
        if data.startswith(method):
            return _HTTP
        if method.startswith(data):
            return FirstBytes(Opening.UNKNOWN, size + 1)
    return _OTHER


def https_url(start: bytes, port: int) -> str:
    """Where a request that begins with `start` is served by TLS, as far as that can be seen; else ""."""
    line = _REQUEST_LINE.match(start[:_MOST_READ])
    host = _HOST.search(start[:_MOST_READ])
    if line is None or host is None:
        return ""
    name = host[1].strip(b" \t")
    try:
        check_host(name)
    except ProtocolError:
        return ""
    authority = plain_authority(name) + (b"" if port == _HTTPS_PORT else b":%d" % port)
    return (b"https://" + authority + line[1]).decode("ascii")
