"""A transport under TLS, with the contract of a plain one: what was written arrives, or a reset.

uvloop's own TLS transport differs in three ways, and all of them are dealt with here:

* With a high-water mark of 0 it would pause its protocol after each write, even if none of its bytes wait.
* Closed, it discards what has not gone out after `ssl_shutdown_timeout`, however slowly the peer reads. So
  it is closed only when the peer's kernel, or ours, has all of it.
* It counts only what it has not encrypted or handed on. The rest is in the buffer of its TCP transport, which
  nobody can see, until the kernel has room for it: then the socket is writable.
"""

import asyncio
import select
from collections.abc import Iterable
from typing import Any, Final

from balancer.connections.tcp_info import descriptor, send_held

_LOOK: Final = 0.1  # seconds between two looks at a peer that does not take the rest of what was written
# Bytes that may wait before the protocol is paused, where none may: a record, so that the session tickets
# that wait when the handshake is over do not hold up the first request.
_MOST_UNSENT: Final = 16 * 1024
_MOST_UNREAD: Final = 64 * 1024  # bytes, encrypted: what is read of a peer whose protocol has paused


class TlsTransport(asyncio.Transport):
    """Wraps `tls`, what uvloop passes to `connection_made`. There is no half-close: `close` ends both
    directions, with a close_notify behind what was written, and `abort` without one."""

    __slots__ = ("_closing", "_loop", "_tls")

    def __init__(self, tls: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._tls = tls
        self._loop = loop
        self._closing = False
        tls.set_read_buffer_limits(_MOST_UNREAD)  # type: ignore[attr-defined]  # of uvloop's only

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._tls.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        if not self._closing:
            self._tls.writelines(list_of_data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high == 0:
            high, low = _MOST_UNSENT, 0
        self._tls.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes not handed on yet; while it closes, also those that the peer has not acknowledged."""
        tls = self._tls
        size = tls.get_write_buffer_size()
        return send_held(tls) if not size and self._closing and not tls.is_closing() else size

    def can_write_eof(self) -> bool:
        return False

    # --- reading

    def pause_reading(self) -> None:
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        self._tls.resume_reading()

    def is_reading(self) -> bool:
        return self._tls.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._tls.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._tls.get_protocol()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls.get_extra_info(name, default)

    # --- the end

    def is_closing(self) -> bool:
        return self._closing or self._tls.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self._closing = True
            # What was written in this turn of the loop reaches the kernel at its end.
            self._loop.call_soon(self._look, False)

    def abort(self) -> None:
        self._closing = True
        self._tls.abort()

    def _look(self, was_taken: bool) -> None:
        """Close, if all has been taken. That is so if the socket is writable twice in a row: at the first
        time the TCP transport writes what it has left."""
        tls = self._tls
        if tls.is_closing():  # lost, or aborted
            return
        if tls.get_write_buffer_size() or not _is_writable(descriptor(tls)):
            self._loop.call_later(_LOOK, self._look, False)
        elif was_taken:
            tls.close()
        else:
            self._loop.call_soon(self._look, True)


def _is_writable(fd: int) -> bool:
    if fd < 0:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
