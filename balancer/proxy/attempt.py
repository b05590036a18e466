"""One try of an exchange at one upstream, from the request's first byte written to the response's last read.

It stands between the upstream connection, which reports what arrives, and its owner, the exchange, which
answers the client. It handles what concerns only the upstream: counters, outcome, reuse of the connection.
"""

from typing import Final

from balancer.connections.roles import Outlet, ResponseReader, UpstreamSide
from balancer.errors import Failure, Outcome
from balancer.http.response_head import ResponseHead
from balancer.outliers.local_ejector import Asker
from balancer.proxy.context import ProxyContext
from balancer.proxy.roles import AttemptOwner
from balancer.proxy.side import Side
from balancer.telemetry.columns import (
    CODE_COLUMN,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
)
from balancer.upstreams.upstream import Upstream

# 5xx about the request's method, version or path through proxies (anybody can write a Via that names the
# next balancer). They say nothing about the upstream's health.
_ABOUT_THE_REQUEST: Final = (501, 505, 508)


class Attempt(ResponseReader):
    """Holds an upstream connection for its owner.

    Reused for the owner's next request: that is safe because a connection calls only its reader, and `end`
    removes the reader. `first_byte_ns` counts from `started_ns`, -1 before the response; `streaming`: the
    response has begun, but its end did not arrive with its head.
    """

    __slots__ = ("_asker", "_context", "_owner", "_side", "connection", "first_byte_ns", "outcome",
                 "reused", "started_ns", "streaming", "upstream")  # fmt: skip

    _side: Side
    upstream: Upstream
    connection: UpstreamSide

    def __init__(self, owner: AttemptOwner, asker: Asker, context: ProxyContext) -> None:
        self._owner = owner
        self._asker = asker
        self._context = context
        self.reused = False
        self.started_ns = 0
        self.first_byte_ns = -1
        self.streaming = False
        self.outcome = Outcome.SUCCESS

    def begin(
        self, side: Side, upstream: Upstream, connection: UpstreamSide, reused: bool, now_ns: int
    ) -> None:
        """Send the owner's request over `connection` to `upstream`, which the pool of `side` has chosen."""
        self._side = side
        self.upstream = upstream
        self.connection = connection
        self.reused = reused
        self.started_ns = now_ns
        self.first_byte_ns = -1
        owner = self._owner
        connection.send(self, owner, reused and owner.head.method not in side.retry.methods)

    def end(self, outcome: Outcome, now_ns: int, close_reason: str | None) -> None:
        """Put the connection back into the keepalive pool, or close it if there is a `close_reason`."""
        connection = self.connection
        if close_reason is None:
            connection.owner.put(connection, now_ns)
        else:
            self._context.connector.close_now(connection, close_reason)
        if self.streaming:
            self._stream_ended()
        latency = self.first_byte_ns if self.first_byte_ns >= 0 else now_ns - self.started_ns
        self._side.pool.finished(self.upstream, latency, outcome, self.started_ns, self._asker)

    def end_tunnel(self) -> None:
        """Close a connection that became a tunnel, after what was written to it has gone out."""
        self._context.connector.close_when_written(self.connection, "tunnel_ended")
        self._stream_ended()
        self._side.pool.finished(self.upstream, self.first_byte_ns, Outcome.SUCCESS, self.started_ns)

    # --- the upstream connection's calls (ResponseReader)

    def informational(self, head: ResponseHead) -> None:
        self._owner.informational(head)

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        now = self._context.monotonic_ns()
        self._count(head.status, now)
        if not last:
            self._stream_began()
        self._owner.response(head, body, last, now)

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        self._owner.response_body(body, last, trailers)

    def switched(self, head: ResponseHead, data: bytes) -> None:
        self._count(head.status, self._context.monotonic_ns())
        self._stream_began()
        self._owner.switched(head, data)

    def tunnel_data(self, data: bytes) -> None:
        self._owner.tunnel_data(data)

    def tunnel_half_closed(self) -> None:
        self._owner.tunnel_half_closed()

    def tunnel_ended(self) -> None:
        self._owner.tunnel_broke()

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self._owner.upstream_failed(failure, detail)

    def upstream_paused(self, paused: bool) -> None:
        self._owner.pace(paused)

    def crashed(self, error: Exception) -> None:
        self._owner.crashed(error)

    def outlet(self) -> Outlet:
        return self._owner.client

    def _count(self, status: int, now: int) -> None:
        self.first_byte_ns = first_byte = now - self.started_ns
        is_fault = status >= 500 and status not in _ABOUT_THE_REQUEST
        self.outcome = Outcome.SERVER_ERROR if is_fault else Outcome.SUCCESS
        upstream = self.upstream
        upstream.answered_ns = now
        upstream.counters.measure(
            CODE_COLUMN[status],
            UPSTREAM_FIRST_BYTE,
            UPSTREAM_FIRST_BYTE_SUM,
            first_byte,
        )

    def _stream_began(self) -> None:
        self.streaming = True
        self._side.pool.stream_began(self.upstream)

    def _stream_ended(self) -> None:
        self.streaming = False
        self._side.pool.stream_ended(self.upstream)
