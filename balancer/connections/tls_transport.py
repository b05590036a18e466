"""TLS on a connection of either side (L3): a transport for its protocol, a protocol for its TCP transport.

uvloop has one too. That takes 44 KiB for an idle connection, does not send what OpenSSL says when a handshake
fails, and cannot say what its TCP transport has not written yet (docs/decisions/0111).
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Final

from balancer.connections.intake import Turns
from balancer.connections.tls_session import TlsSession

_PIECE: Final = 64 * 1024  # bytes encrypted at once: they are still in the cache when they are written
_MOST_REPLIES: Final = 64 * 1024  # bytes that a peer may have us say without taking them

# Shared by all connections: what is read into it is decrypted, or copied, at once.
_encrypted: Final = memoryview(bytearray(64 * 1024))


class TlsTransport:
    """An asyncio transport by its methods: what was written arrives, or a reset. There is no half-close.
    `close` ends both directions, with a close_notify behind what was written, and `abort` without one.

    Its protocol is told of an end by `eof_received` only if the peer has said so (close_notify). Of a FIN
    without that it hears by `connection_lost` only.
    """

    __slots__ = ("_armed", "_closing", "_feed", "_held", "_more", "_protocol", "_session", "_tcp", "_turns")

    def __init__(
        self,
        tcp: asyncio.Transport,
        turns: Turns,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        host: str | None = None,
    ) -> None:
        """For the other end of `tcp`; `host` is the name of the server, if that is the peer. What is left to
        be decrypted waits for its turn among those of all connections."""
        self._tcp = tcp
        self._turns = turns
        self._session = TlsSession(context, server_side, host)
        self._protocol: Any = None
        self._more = False  # what was read is not all passed on: `tcp` does not read meanwhile
        self._held = False  # the protocol has paused: the same
        self._armed = False  # it waits for its turn
        self._closing = False
        self._feed: _Feed | None = None  # while the protocol has a buffer

    # --- the handshake

    def shake_hands(self, data: bytes) -> bool:
        """Go on with `data` from the peer, b"" for a first step of ours; returns whether that is all. Raises
        ssl.SSLError if there will be no connection. The peer has been told why then."""
        try:
            return self._session.shake_hands(data)
        finally:
            self._reply()

    def begin(self, protocol: Any) -> None:
        """The handshake is over: what comes now, or came behind it, is for `protocol`, which knows of its
        connection already."""
        self._protocol = protocol
        self._tcp.set_protocol(self)  # type: ignore[arg-type]  # a protocol by its methods
        if self._session.unread:
            self.data_received(b"")

    # --- reading: the calls of the TCP transport

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        session = self._session
        if session.unread:
            data = session.unread + data
        found = session.decrypt(data)
        self._note()
        if found and not self._closing:
            self._protocol.data_received(found)
        self._conclude()

    def fill(self, data: bytes | memoryview) -> None:
        """As `data_received`, for a protocol with a buffer. That is filled once in a turn of the loop."""
        protocol = self._protocol
        filled = self._session.decrypt_into(data, memoryview(protocol.get_buffer(-1)))
        self._note()
        if filled and not self._closing:
            protocol.buffer_updated(filled)
        self._conclude()

    def eof_received(self) -> bool:
        """A FIN without a close_notify: anybody on the way could have sent it."""
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._closing = True
        self._feed = None
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(self._session.error or exc)

    def pause_writing(self) -> None:
        """The peer does not take what is written."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer has taken all of it."""
        self._protocol.resume_writing()

    def rest(self) -> None:
        """There may be more, for the next turn of the loop."""
        if not self._more and not self._closing:
            self._more = True
            if not self._held:
                self._tcp.pause_reading()

    def _note(self) -> None:
        """Before what was found is passed on."""
        if self._session.reply:
            self._reply()
            if self._tcp.get_write_buffer_size() > _MOST_REPLIES:  # it wants new keys, and does not read
                self.abort()
        if self._session.has_more():
            self.rest()

    def _reply(self) -> None:
        reply = self._session.take_reply()
        if reply and not self._tcp.is_closing():
            self._tcp.write(reply)

    def _conclude(self) -> None:
        """After that."""
        if self._closing:
            return
        if self._session.error is not None:
            self._closing = True
            self._tcp.close()
        elif self._more and not self._held and not self._armed:
            self._armed = True
            self._turns.add(self)

    def go_on(self) -> None:
        """The next turn has come."""
        self._armed = False
        if self._held or self._closing:
            return
        session = self._session
        self._more = False
        if session.ended:
            self._protocol.eof_received()
            self.close()
        elif not session.has_more():
            self._tcp.resume_reading()
        else:
            if self._feed is None:
                self.data_received(b"")
            else:
                self.fill(session.unread)
            if not self._more and not self._held and not self._closing:
                self._tcp.resume_reading()

    # --- reading: the protocol's calls

    def pause_reading(self) -> None:
        if not self._held:
            self._held = True
            if not self._more:
                self._tcp.pause_reading()

    def resume_reading(self) -> None:
        if self._held:
            self._held = False
            if self._more:
                self._conclude()
            else:
                self._tcp.resume_reading()

    def is_reading(self) -> bool:
        return not self._held and not self.is_closing()

    def set_protocol(self, protocol: Any) -> None:
        """As in uvloop, one with a buffer and one without may follow each other only while it is paused."""
        self._protocol = protocol
        feed = _Feed(self) if isinstance(protocol, asyncio.BufferedProtocol) else None
        if (feed is None) != (self._feed is None):
            self._feed = feed
            self._tcp.set_protocol(self if feed is None else feed)  # type: ignore[arg-type]  # as in `begin`

    def get_protocol(self) -> Any:
        return self._protocol

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        session = self._session
        if self._closing or session.error is not None:
            return
        size = len(data)
        if 0 < size <= _PIECE:
            self._tcp.write(session.encrypt(data))
            return
        view = memoryview(data)
        for start in range(0, size, _PIECE):
            self._tcp.write(session.encrypt(view[start : start + _PIECE]))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._tcp.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return False

    # --- the end, and what there is

    def is_closing(self) -> bool:
        # Behind an error there is nothing more, also while what came before it is passed on.
        return self._closing or self._session.error is not None or self._tcp.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self._closing = True
            self._tcp.write(self._session.end())
            self._tcp.close()

    def abort(self) -> None:
        self._closing = True
        self._tcp.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Also "ssl_object", and "tls_session", which is a TlsSession."""
        if name == "tls_session":
            return self._session
        return self._session.ssl_object if name == "ssl_object" else self._tcp.get_extra_info(name, default)


class _Feed:
    """Reads for a protocol with a buffer: no more at once than can be kept if the protocol pauses."""

    __slots__ = ("_transport",)

    def __init__(self, transport: TlsTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return _encrypted

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes == len(_encrypted):
            self._transport.rest()
        self._transport.fill(_encrypted[:nbytes])

    def eof_received(self) -> bool:
        return self._transport.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport.connection_lost(exc)

    def pause_writing(self) -> None:
        self._transport.pause_writing()

    def resume_writing(self) -> None:
        self._transport.resume_writing()
