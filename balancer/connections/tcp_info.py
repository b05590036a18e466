"""What the kernel knows of a connection: has the peer taken what was sent? (tcp(7), TCP_INFO)"""

import socket
import struct
from typing import NamedTuple

_TCP_CLOSE = 7
# struct tcp_info of linux/tcp.h: the state in its first byte, tcpi_bytes_acked after 8 bytes and 24 words.
_ACKED = struct.Struct("=120xQ")


class Taken(NamedTuple):
    """`acked` bytes in all have reached the peer's kernel; `closed`: nothing goes either way any more."""

    acked: int
    closed: bool


def taken(sock: socket.socket | None) -> Taken | None:
    """The present state of a TCP socket; None where it cannot be told."""
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
    except (OSError, AttributeError):  # closed already, or no socket at all
        return None
    if len(info) < _ACKED.size:
        return None
    return Taken(_ACKED.unpack(info)[0], info[0] == _TCP_CLOSE)
