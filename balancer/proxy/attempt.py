"""One try of an exchange at one upstream, from the request's first byte written to the response's last read.

It stands between the upstream connection, which tells it what arrives, and the exchange, which answers the
client; what concerns only the upstream (its counters, its outcome, its connection's fate) ends here.
"""

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING

from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import Failure, Outcome
from balancer.http.head import ResponseHead
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    CODE_COLUMN,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
)
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

# 5xx that say what the app thinks of the method, the version or the way of the request (anybody can write a
# Via that names the next balancer), and nothing of how it is.
_ABOUT_THE_REQUEST = (501, 505, 508)


class Attempt:
    """Holds an upstream connection for an exchange.

    Used again for the exchange's next request: that is safe because a connection calls its reader only,
    and `end` takes the reader away.
    """

    __slots__ = ("connection", "exchange", "first_byte_ns", "outcome", "reused", "started_ns", "streaming",
                 "upstream")  # fmt: skip

    upstream: Upstream
    connection: UpstreamConnection

    def __init__(self, exchange: "Exchange") -> None:
        self.exchange = exchange
        self.reused = False
        self.started_ns = 0
        self.first_byte_ns = -1  # since `started_ns`
        self.streaming = False  # the response has begun and did not come whole
        self.outcome = Outcome.SUCCESS

    def begin(self, upstream: Upstream, connection: UpstreamConnection, reused: bool, now_ns: int) -> None:
        """Take hold of `connection`; the exchange writes the request to it next."""
        self.upstream = upstream
        self.connection = connection
        self.reused = reused
        self.started_ns = now_ns
        self.first_byte_ns = -1
        head = self.exchange.head
        connection.begin(self, head.method, head.websocket)

    def end(self, outcome: Outcome, now_ns: int, close_reason: str | None) -> None:
        """Let go of the connection: back to the keepalive pool, or closed where `close_reason` says why."""
        exchange = self.exchange
        connection = self.connection
        if close_reason is None:
            connection.owner.put(connection, now_ns)
        else:
            exchange.proxy.connector.close_now(connection, close_reason)
        if self.streaming:
            self._stream_ended()
        latency = self.first_byte_ns if self.first_byte_ns >= 0 else now_ns - self.started_ns
        exchange.route.pool.finished(self.upstream, latency, outcome, self.started_ns, exchange.connecting)

    def end_tunnel(self) -> None:
        """Let go of a connection that became a tunnel; what was written to it still goes out."""
        exchange = self.exchange
        exchange.proxy.connector.close_when_written(self.connection, "tunnel_ended")
        self._stream_ended()
        exchange.route.pool.finished(self.upstream, self.first_byte_ns, Outcome.SUCCESS, self.started_ns)

    # --- the upstream connection's calls (ResponseReader)

    def informational(self, head: ResponseHead) -> None:
        self.exchange.informational(head)

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        exchange = self.exchange
        now = exchange.proxy.monotonic_ns()
        self._count(head.status, now)
        if not last:
            self._stream_began()
        exchange.response(head, body, last, now)

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        self.exchange.response_body(body, last, trailers)

    def switched(self, head: ResponseHead, data: bytes) -> None:
        self._count(head.status, self.exchange.proxy.monotonic_ns())
        self._stream_began()
        self.exchange.switched(head, data)

    def tunnel_data(self, data: bytes) -> None:
        tunnel = self.exchange.tunnel
        assert tunnel is not None
        tunnel.from_upstream(data)

    def tunnel_half_closed(self) -> None:
        tunnel = self.exchange.tunnel
        assert tunnel is not None
        tunnel.upstream_half_closed()

    def tunnel_ended(self) -> None:
        tunnel = self.exchange.tunnel
        assert tunnel is not None
        tunnel.end()

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self.exchange.upstream_failed(failure, detail)

    def upstream_paused(self, paused: bool) -> None:
        self.exchange.pace(paused)

    def crashed(self, error: Exception) -> None:
        self.exchange.crashed(error)

    def outlet(self) -> asyncio.Transport:
        return self.exchange.client.transport

    def _count(self, status: int, now: int) -> None:
        self.first_byte_ns = first_byte = now - self.started_ns
        is_fault = status >= 500 and status not in _ABOUT_THE_REQUEST
        self.outcome = Outcome.SERVER_ERROR if is_fault else Outcome.SUCCESS
        upstream = self.upstream
        upstream.answered_ns = now
        cells = upstream.cells
        cells[CODE_COLUMN[status]] += 1
        cells[UPSTREAM_FIRST_BYTE + bisect_left(BUCKET_BOUNDS_NS, first_byte)] += 1
        cells[UPSTREAM_FIRST_BYTE_SUM] += first_byte

    def _stream_began(self) -> None:
        self.streaming = True
        self.exchange.route.pool.stream_began(self.upstream)

    def _stream_ended(self) -> None:
        self.streaming = False
        self.exchange.route.pool.stream_ended(self.upstream)
