"""How a connection ended, and what had arrived on it before (L3). Only the kernel knows both."""

import asyncio
import errno
import socket
from collections.abc import Generator
from typing import Final

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
    already been reported, so reading ends as at a FIN in any case. Close the generator after use. Under TLS
    there is none: what the socket holds is encrypted, and its keys are gone.
    """
    if transport.get_extra_info("ssl_object") is not None:
        return
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
