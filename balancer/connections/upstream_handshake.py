"""A TCP connection to an upstream, until the TLS handshake on it is over (L3)."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from typing import Any

from mypy_extensions import mypyc_attr

from balancer.connections.intake import Turns
from balancer.connections.tls_transport import TlsTransport


@mypyc_attr(allow_interpreted_subclasses=True)
class HandshakeOwner(ABC):
    """Waits for a handshake."""

    __slots__ = ()

    @abstractmethod
    def shaken(self, error: Exception | None) -> None:
        """It is over: `error` says why there is no TLS connection, None that there is one. Comes once."""


class UpstreamHandshake:
    """An asyncio protocol by its methods, whose place `protocol` takes. `error`: as `shaken` has it."""

    __slots__ = ("_context", "_limit", "_owner", "_protocol", "_server_name", "_tcp", "_timer",
                 "_tls", "_turns", "error", "is_over")  # fmt: skip

    _tcp: asyncio.Transport
    _tls: TlsTransport

    def __init__(
        self,
        owner: HandshakeOwner,
        protocol: Any,
        server_name: str,
        context: ssl.SSLContext,
        turns: Turns,
        limit: float | None,
    ) -> None:
        """`server_name` is whom the upstream must prove to be; `limit` is in seconds, None if the owner has
        one."""
        self._owner = owner
        self._protocol = protocol
        self._server_name = server_name
        self._context = context
        self._turns = turns
        self._limit = limit
        self._timer: asyncio.TimerHandle | None = None
        self.error: Exception | None = None
        self.is_over = False

    def abort(self) -> None:
        """The owner does not wait any more."""
        self._tcp.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP has connected."""
        self._tcp = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        self._tls = TlsTransport(
            self._tcp, self._turns, self._context, server_side=False, host=self._server_name
        )
        if self._limit is not None:
            self._timer = self._turns.loop.call_later(self._limit, self._time_out)
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.is_over:
            return
        tls = self._tls
        try:
            if not tls.shake_hands(data):
                return
        except ssl.SSLError as error:
            self._tcp.close()
            self._end(error)
            return
        self._protocol.connection_made(tls)
        tls.begin(self._protocol)
        self._end(None)

    def eof_received(self) -> bool:
        """A FIN."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._end(exc or ConnectionResetError("closed in the TLS handshake"))

    def pause_writing(self) -> None:
        """What is written before the end of a handshake is little."""

    def resume_writing(self) -> None:
        """As above."""

    def _time_out(self) -> None:
        self._timer = None
        self._tcp.abort()
        self._end(ConnectionAbortedError("the TLS handshake takes too long"))

    def _end(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.is_over:
            self.is_over = True
            self.error = error
            self._owner.shaken(error)
