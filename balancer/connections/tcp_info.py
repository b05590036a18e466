"""What the kernel knows about a connection: how much the peer has taken (tcp(7), TCP_INFO; SO_MEMINFO)."""

import asyncio
import select
import socket
import struct
from typing import Final, NamedTuple

_TCP_CLOSE: Final = 7
# struct tcp_info of linux/tcp.h: the state in its first byte, tcpi_bytes_acked after 8 bytes and 24 words.
_ACKED: Final = struct.Struct("=120xQ")
# The words of linux/sock_diag.h: the fourth is the size of the send buffer, the sixth what it holds.
_SO_MEMINFO: Final = 55
_SEND_BUFFER: Final = struct.Struct("=12xI4xI")


class Taken(NamedTuple):
    """`acked`: bytes in all that the peer's kernel has acknowledged; `closed`: in both directions."""

    acked: int
    closed: bool


def taken(sock: socket.socket | None) -> Taken | None:
    """The present state of a TCP socket; None if it is unknown."""
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
    except (OSError, AttributeError):  # closed already, or no socket at all
        return None
    if len(info) < _ACKED.size:
        return None
    return Taken(_ACKED.unpack(info)[0], info[0] == _TCP_CLOSE)


def descriptor(transport: asyncio.Transport) -> int:
    """The descriptor of a transport's socket, for polling; -1 if it has none any more."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def has_arrived(transport: asyncio.Transport) -> bool:
    """Whether the kernel has bytes that were not read yet, of a peer that has not ended the connection."""
    fd = descriptor(transport)
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return any(events & select.POLLIN and not events & select.POLLRDHUP for _, events in poll.poll(0))


def send_room(transport: asyncio.Transport) -> int:
    """Bytes that the kernel would take for a transport's peer now; 0 if that is unknown."""
    if transport.is_closing():
        return 0
    size, held = _send_buffer(transport)
    return max(size - held, 0)


def send_held(transport: asyncio.Transport) -> int:
    """Bytes, with some overhead, that the kernel holds because the peer has not acknowledged them; 0 if that
    is unknown."""
    return _send_buffer(transport)[1]


def _send_buffer(transport: asyncio.Transport) -> tuple[int, int]:
    """Its size, and how much of it is in use."""
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _SEND_BUFFER.size)
    except (OSError, AttributeError):  # closed already, or no socket at all
        return 0, 0
    if len(info) < _SEND_BUFFER.size:
        return 0, 0
    size: int
    held: int
    size, held = _SEND_BUFFER.unpack(info)
    return size, held
