"""How a connection ended, and what had arrived on it before (L3). Only the kernel knows both."""

import asyncio
import errno
import socket
from collections.abc import Generator
from typing import Final

from balancer.connections.tls_session import TlsSession

_LAST_READ_SIZE: Final = 64 * 1024


def is_break(exc: BaseException | None) -> bool:
    """Whether a connection lost with `exc` was cut off: its peer had not ended it with a FIN before.

    A reset after a FIN is reported as a broken pipe. After any other error more data may have been missing.
    """
    return exc is not None and not isinstance(exc, BrokenPipeError)


def broke_at_end(transport: asyncio.Transport) -> bool:
    """Whether what was reported as a FIN was a reset: libuv before 1.52 confuses them if it reads the last
    bytes together with the reset. The kernel still has the error then."""
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in (0, errno.EPIPE)


def last_words(transport: asyncio.Transport) -> Generator[bytes, None, None]:
    """The data still in the socket of a transport that has lost its connection, in pieces of up to 64 KiB.

    It is no more than the kernel's buffer holds, and does not show how the connection ended: the error has
    already been reported, so reading ends as at a FIN in any case. Close the generator after use.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    try:
        last = sock.dup()
    except OSError:  # closed already
        return
    session: TlsSession | None = transport.get_extra_info("tls_session")
    try:
        if session is not None:
            yield from _decrypted(session, b"")
        while data := last.recv(_LAST_READ_SIZE, socket.MSG_DONTWAIT):
            if session is None:
                yield data
            else:
                yield from _decrypted(session, data)
    except OSError:
        return
    finally:
        last.close()


def _decrypted(session: TlsSession, data: bytes) -> Generator[bytes, None, None]:
    data = session.unread + data
    # A part of a record may have been decrypted already.
    while (data or session.has_more()) and session.error is None and not session.ended:
        found = session.decrypt(data)
        if found:
            yield found
        data = session.unread
