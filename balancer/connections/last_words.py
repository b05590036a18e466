"""What had arrived on a connection before it broke (L3): uvloop gives it up with that unread."""

import asyncio
import os
import socket
from collections.abc import Generator

_LAST_READS = 64
_LAST_READ_SIZE = 64 * 1024


def last_words(transport: asyncio.Transport) -> Generator[bytes, None, None]:
    """What is still in the socket of a transport that has lost its connection, in pieces of up to 64 KiB, and
    no more than 4 MiB of it; `b""` at the end if that was an orderly one. To be closed after use."""
    sock = transport.get_extra_info("socket")
    descriptor = sock.fileno() if sock is not None else -1
    if descriptor < 0:
        return
    with socket.socket(fileno=os.dup(descriptor)) as last:
        last.setblocking(False)
        for _ in range(_LAST_READS):
            try:
                yield last.recv(_LAST_READ_SIZE)
            except OSError:
                return
