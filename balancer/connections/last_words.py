"""How a connection ended, and what had arrived on it before (L3). Both have to be asked of the kernel."""

import asyncio
import errno
import socket
from collections.abc import Generator

_LAST_READ_SIZE = 64 * 1024


def is_break(exc: BaseException | None) -> bool:
    """Whether a connection that was lost by `exc` broke off: its peer had not ended it before.

    A reset after a FIN is reported as a broken pipe. Any other error leaves open what was still to come.
    """
    return exc is not None and not isinstance(exc, BrokenPipeError)


def broke_at_end(transport: asyncio.Transport) -> bool:
    """Whether a reset is behind what was reported as a FIN: libuv before 1.52 takes one for the other where
    it reads the last bytes together with it. The kernel still has the error then."""
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in (0, errno.EPIPE)


def last_words(transport: asyncio.Transport) -> Generator[bytes, None, None]:
    """What is still in the socket of a transport that has lost its connection, in pieces of up to 64 KiB.

    That is no more than the kernel's buffer holds, and says nothing of how the connection ended: the error
    has been told already, so reading ends like a file, with a FIN or without. To be closed after use.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    try:
        last = sock.dup()
    except OSError:  # closed already
        return
    try:
        while data := last.recv(_LAST_READ_SIZE, socket.MSG_DONTWAIT):
            yield data
    except OSError:
        return
    finally:
        last.close()
