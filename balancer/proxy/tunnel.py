"""After an upgrade: bytes pass both ways as they come, with back-pressure, until both sides have ended."""

import asyncio
import select
from contextlib import closing
from typing import TYPE_CHECKING

from balancer.connections.last_words import last_words
from balancer.http.head import ResponseHead
from balancer.http.wire import render_informational
from balancer.proxy.attempt import Attempt
from balancer.telemetry.columns import POOL_TUNNELS

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange


class Tunnel:
    """What an exchange turns into with 101. Silence both ways for `tunnel_idle` ends it.

    A side that ends its own direction may still want the other's last words: its FIN is passed on behind what
    it has sent, and the other direction goes on until its own end. A plain close looks just the same, so that
    direction has only `idle` from byte to byte, and the sweep polls the side that has ended.
    """

    __slots__ = ("_attempt", "_client", "_exchange", "_idle_ns", "_proxy", "client_ended",
                 "upstream_ended")  # fmt: skip

    def __init__(self, exchange: "Exchange", attempt: Attempt, head: ResponseHead) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._client = exchange.client
        self._proxy = exchange.proxy
        self._idle_ns = self._proxy.timeouts.tunnel_idle_ns
        self.client_ended = False
        self.upstream_ended = False
        exchange.route.pool.cells[POOL_TUNNELS] += 1
        self._client.transport.write(render_informational(head))
        self.stay()

    def stay(self) -> None:
        """There is life in it: the idle time begins anew."""
        self._client.deadline_ns = self._proxy.monotonic_ns() + self._idle_ns

    def from_client(self, data: bytes) -> None:
        """The client has sent `data`."""
        self._exchange.request_bytes += len(data)
        connection = self._attempt.connection
        if not connection.closed:  # it may have ended with its first words
            connection.transport.write(data)
        self.stay()

    def from_upstream(self, data: bytes) -> None:
        """The upstream has sent `data`."""
        self._exchange.response_bytes += len(data)
        self._client.transport.write(data)
        self.stay()

    def read_last_words(self, client: asyncio.Transport) -> None:
        """The client's connection has broken: what had arrived on it before still goes out."""
        with closing(last_words(client)) as words:
            for data in words:
                self.from_client(data)

    def client_half_closed(self) -> None:
        """The client has sent its FIN."""
        self.client_ended = True
        self._pass_on_end(self._attempt.connection.transport)

    def upstream_half_closed(self) -> None:
        """The upstream has sent its FIN."""
        self.upstream_ended = True
        self._pass_on_end(self._client.transport)

    def _pass_on_end(self, to: asyncio.Transport) -> None:
        if (self.client_ended and self.upstream_ended) or not to.can_write_eof():
            self.end()
            return
        to.write_eof()  # when all that was written has gone out
        self._proxy.half_closed.add(self)
        self._idle_ns = self._proxy.timeouts.idle_ns
        self.stay()

    def has_lost_client(self, events: int) -> bool:
        """Whether polling says so, of one that is not being read. After both FINs there is a POLLHUP too."""
        return bool(events & (select.POLLERR if self.upstream_ended else select.POLLERR | select.POLLHUP))

    @property
    def ended_fd(self) -> int:
        """The descriptor of the side that has ended: nothing reads it, so only polling tells of a reset."""
        ended = self._client if self.client_ended else self._attempt.connection
        return int(ended.transport.get_extra_info("socket").fileno())

    def peer_vanished(self, events: int) -> None:
        """What polling says of the side that has ended. It has not been sent a FIN, so POLLHUP is a reset."""
        if events & (select.POLLERR | select.POLLHUP) and self._exchange.tunnel is self:
            self.end()

    def silent(self) -> None:
        """No byte has come for too long; but a slow upstream may have taken some of what was written."""
        untaken = self._attempt.connection.transport.get_write_buffer_size()
        if self._exchange.upstream_takes() and untaken:
            self.stay()
        else:
            self.end()

    def end(self) -> None:
        """Both sides have ended, or one has broken off, or both were silent for too long. What was written
        still goes out."""
        self._exchange.route.pool.cells[POOL_TUNNELS] -= 1
        self._proxy.half_closed.discard(self)
        self._attempt.end_tunnel()
        self._exchange.tunnel_ended()
