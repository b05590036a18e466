"""After an upgrade: bytes pass both ways as they come, with back-pressure, until either side ends."""

from typing import TYPE_CHECKING

from balancer.http.head import ResponseHead
from balancer.http.wire import render_informational
from balancer.proxy.attempt import Attempt
from balancer.telemetry.columns import POOL_TUNNELS

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange


class Tunnel:
    """What an exchange turns into with 101. Silence both ways for `tunnel_idle` ends it."""

    __slots__ = ("_attempt", "_client", "_exchange", "_proxy")

    def __init__(self, exchange: "Exchange", attempt: Attempt, head: ResponseHead) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._client = exchange.client
        self._proxy = exchange.proxy
        exchange.route.pool.cells[POOL_TUNNELS] += 1
        self._client.transport.write(render_informational(head))
        self.stay()

    def stay(self) -> None:
        """There is life in it: the idle time begins anew."""
        self._client.deadline_ns = self._proxy.monotonic_ns() + self._proxy.timeouts.tunnel_idle_ns

    def from_client(self, data: bytes) -> None:
        """The client has sent `data`."""
        self._exchange.request_bytes += len(data)
        self._attempt.connection.transport.write(data)
        self.stay()

    def from_upstream(self, data: bytes) -> None:
        """The upstream has sent `data`."""
        self._exchange.response_bytes += len(data)
        self._client.transport.write(data)
        self.stay()

    def end(self) -> None:
        """Either side has closed, or both were silent for too long. What was written still goes out."""
        self._exchange.route.pool.cells[POOL_TUNNELS] -= 1
        self._attempt.end_tunnel()
        self._exchange.tunnel_ended()
