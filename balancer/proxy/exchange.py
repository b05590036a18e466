"""One request with its response: from the parsed head to the last byte relayed, whatever happens between.

It stands between the client connection, which frames the request and calls `start`, `request_body` and
`client_gone`, and the attempt at an upstream. Every way it can end passes through `_end`, once.
"""

import traceback
from bisect import bisect_left
from typing import TYPE_CHECKING

from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import (
    BODY_TIMEOUT,
    CONNECT_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    INTERNAL_ERROR,
    NO_UPSTREAM,
    TOTAL_TIMEOUT,
    UPSTREAM_CLOSED,
    Failure,
    Outcome,
    ProtocolError,
)
from balancer.http.chunked import encode_chunk, encode_end
from balancer.http.framing import CHUNKED, NO_BODY
from balancer.http.head import RequestHead, ResponseHead
from balancer.http.responses import prefers_json, render_failure
from balancer.http.wire import render_informational, render_request, render_response, sends_chunked
from balancer.pools.pool import UpstreamPool
from balancer.proxy.attempt import Attempt
from balancer.proxy.dialling import Dialling
from balancer.proxy.retry import may_resend, retry_column
from balancer.proxy.router import Route
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    CODE_COLUMN,
    METHOD_COLUMN,
    METHOD_OTHER,
    POOL_TUNNELS,
    ROUTE_DURATION,
    ROUTE_DURATION_SUM,
)
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.client_connection import ClientConnection
    from balancer.proxy.proxy import Proxy

# Up to this size head and body go out as one buffer: copying is cheaper than a second iovec.
_JOIN_LIMIT = 16 * 1024
CLIENT_GONE_STATUS = 499  # nginx's word in logs; never sent


class Exchange:
    """Used again for each request of its client connection; `active` between `start` and `_end`."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_chunked",
        "_close",
        "_dialling",
        "_failure",
        "_request_id",
        "_response_bytes",
        "_route",
        "_started_ns",
        "_status",
        "_total_deadline_ns",
        "_tried",
        "_unsent",
        "_upstream_paused",
        "active",
        "attempt",
        "client",
        "head",
        "pool",
        "proxy",
        "request_bytes",
        "request_whole",
        "response_begun",
        "tunnelling",
    )  # fmt: skip

    head: RequestHead
    pool: UpstreamPool
    _route: Route

    def __init__(self, client: "ClientConnection", proxy: "Proxy") -> None:
        # for the client connection's life
        self.client = client
        self.proxy = proxy
        self._attempt = Attempt(self)
        # for one exchange
        self.active = False
        self.attempt: Attempt | None = None  # holding an upstream connection
        self._dialling: Dialling | None = None
        self.request_whole = True  # the client has sent all of it
        self.response_begun = False  # bytes of the final response have gone to the client
        self.tunnelling = False
        self._started_ns = 0
        self._total_deadline_ns = 0
        self._request_id = b""
        self._tried: tuple[Upstream, ...] = ()
        self._attempts = 0
        self._unsent: list[bytes] = []  # request body, encoded, while there is no connection yet
        self._upstream_paused = False
        self.request_bytes = 0
        self._response_bytes = 0
        self._status = 0
        self._failure: Failure | None = None
        self._chunked = False
        self._close = False

    # --- the client connection's calls

    def start(self, head: RequestHead, body: bytes, whole: bool) -> None:
        """A request begins. `body` is what of its body came with the head; `whole` if that was all."""
        proxy = self.proxy
        now = proxy.monotonic_ns()
        self.head = head
        self._route = route = proxy.router.match(head)
        self.pool = route.pool
        route.inflight += 1
        self.active = True
        self.request_whole = whole
        self.response_begun = False
        self._started_ns = now
        self._total_deadline_ns = now + proxy.timeouts.total_ns
        self._request_id = proxy.request_ids.of(head)
        self._tried = ()
        self._attempts = 0
        self.request_bytes = len(body)
        self._response_bytes = 0
        self._failure = None
        self._close = not head.keep_alive
        self.client.deadline_ns = now + (proxy.timeouts.first_byte_ns if whole else proxy.timeouts.idle_ns)
        if body or head.length == CHUNKED:
            self._unsent = self._encoded(body, whole, b"")
        self._next_attempt(now)

    def request_body(self, body: bytes, whole: bool, trailers: bytes) -> None:
        """More of the request's body, and its trailers with the last piece."""
        self.request_bytes += len(body)
        self.request_whole = whole
        timeouts = self.proxy.timeouts
        now = self.proxy.monotonic_ns()
        if not self.response_begun:
            self.client.deadline_ns = now + (timeouts.first_byte_ns if whole else timeouts.idle_ns)
        pieces = self._encoded(body, whole, trailers)
        attempt = self.attempt
        if attempt is None:
            self._unsent += pieces
            self.client.read_body(False)  # one piece is enough until there is a connection
        elif pieces:
            attempt.connection.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def client_paused(self, paused: bool) -> None:
        """The client does not keep up with the response, or does again."""
        attempt = self.attempt
        if attempt is not None and not attempt.connection.closed:
            if paused:
                attempt.connection.transport.pause_reading()
            else:
                attempt.connection.transport.resume_reading()
                timeouts = self.proxy.timeouts
                limit = timeouts.tunnel_idle_ns if self.tunnelling else timeouts.idle_ns
                self.client.deadline_ns = self.proxy.monotonic_ns() + limit

    def client_gone(self) -> None:
        """The client has left (FIN or reset): its upstream request is cancelled, and nobody is blamed."""
        if self.tunnelling:
            self._end_tunnel(Outcome.SUCCESS)
            return
        self._status = CLIENT_GONE_STATUS
        self._let_go(Outcome.CLIENT_GONE, "client_gone")
        self._end(self.proxy.monotonic_ns())

    def request_broken(self, error: ProtocolError) -> None:
        """The request's body is malformed or too large: nothing more of it may reach the app."""
        self._let_go(Outcome.CLIENT_GONE, "client_gone")
        self._fail(error.failure)

    def tunnel_to_upstream(self, data: bytes) -> None:
        """Bytes from the client after the upgrade."""
        attempt = self.attempt
        assert attempt is not None
        self.request_bytes += len(data)
        self.client.deadline_ns = self.proxy.monotonic_ns() + self.proxy.timeouts.tunnel_idle_ns
        attempt.connection.transport.write(data)

    def deadline_passed(self, now: int) -> None:
        """The client connection's deadline has come while this exchange runs."""
        if self.tunnelling:
            self._end_tunnel(Outcome.SUCCESS)
        elif self.response_begun:
            if self.client.write_paused:
                self.client_gone()  # it has read nothing for so long: as good as gone
                self.client.break_off()
            else:
                self.upstream_failed(IDLE_TIMEOUT, "no more of the response arrived")
        elif self._dialling is not None:
            self.upstream_failed(CONNECT_TIMEOUT, "no connection before the first-byte timeout")
        elif not self.request_whole and not self._upstream_paused:
            self._let_go(Outcome.CLIENT_GONE, "client_gone")
            self._fail(BODY_TIMEOUT)
        else:
            self.upstream_failed(FIRST_BYTE_TIMEOUT, "no response head arrived")

    def check_total(self, now: int) -> None:
        """End the exchange where it has taken longer than a whole one may (tunnels are exempt)."""
        if now > self._total_deadline_ns and not self.tunnelling:
            self.upstream_failed(TOTAL_TIMEOUT, "the exchange took too long")

    def crashed(self, error: Exception) -> None:
        """A bug of ours: this exchange ends with 500 and a logged traceback, the worker lives on."""
        self.proxy.log("error", f"internal error: {error!r}", "".join(traceback.format_exception(error)))
        if self.active:
            self._close = True
            self._let_go(Outcome.CANCELLED, "failed")
            self._fail(INTERNAL_ERROR)

    # --- attempts

    def _next_attempt(self, now: int) -> None:
        upstream = self.pool.choose(self._tried, now)
        if upstream is None:
            self._fail(self._failure or NO_UPSTREAM)
            return
        self._tried = (*self._tried, upstream)
        self._attempts += 1
        connection = self.proxy.connector.take(upstream, now)
        if connection is not None:
            self._send(upstream, connection, True, now)
        else:
            self._dial(upstream)

    def _dial(self, upstream: Upstream) -> None:
        proxy = self.proxy
        dialling = self._dialling = Dialling(self, proxy.loop, proxy.connector)
        dialling.start(upstream)
        proxy.connect_races.push(dialling)

    def join_race(self, dialling: Dialling) -> None:
        """`dialling` has taken long: let another upstream join, if there is one."""
        if self._attempts >= self.pool.max_attempts:
            return
        upstream = self.pool.choose(self._tried, self.proxy.monotonic_ns())
        if upstream is not None:
            self._tried = (*self._tried, upstream)
            self._attempts += 1
            self.pool.cells[retry_column("connect_race")] += 1
            dialling.start(upstream)

    def give_back(self, upstream: Upstream, outcome: Outcome) -> None:
        """A dial to `upstream` did not become this exchange's connection."""
        self.pool.finished(upstream, self.proxy.monotonic_ns() - self._started_ns, outcome)

    def connected(self, upstream: Upstream, connection: UpstreamConnection) -> None:
        """The dialling has a winner."""
        self._dialling = None
        if connection.closed:  # it spoke or ended before it was asked: nothing was sent
            self.give_back(upstream, Outcome.CONNECT_FAILED)
            self.connect_failed(UPSTREAM_CLOSED, "the connection ended before it was used")
            return
        try:
            self._send(upstream, connection, False, self.proxy.monotonic_ns())
            self.client.read_body(True)
        except Exception as error:
            self.crashed(error)

    def connect_failed(self, failure: Failure, detail: str) -> None:
        """All running dials have failed. Nothing was sent: for any method another upstream may be tried."""
        self._dialling = None
        self._failure = failure
        try:
            if self._attempts < self.pool.max_attempts:
                reason = "connect_timeout" if failure is CONNECT_TIMEOUT else "connect_failed"
                attempts = self._attempts
                self._next_attempt(self.proxy.monotonic_ns())
                if self._attempts > attempts:
                    self.pool.cells[retry_column(reason)] += 1
            else:
                self._fail(failure)
        except Exception as error:
            self.crashed(error)

    def _send(self, upstream: Upstream, connection: UpstreamConnection, reused: bool, now: int) -> None:
        attempt = self.attempt = self._attempt
        attempt.begin(upstream, connection, reused, now)
        head = self.head
        data = render_request(head, self.client.peer.lines(head), self._request_id, upstream.authority)
        if self._unsent:
            data = b"".join([data, *self._unsent])
            self._unsent = []
        connection.transport.write(data)

    def _encoded(self, body: bytes, whole: bool, trailers: bytes) -> list[bytes]:
        if self.head.length != CHUNKED:
            return [body] if body else []
        pieces = [encode_chunk(body)] if body else []
        if whole:
            pieces.append(encode_end(trailers))
        return pieces

    # --- the attempt's calls

    def informational(self, head: ResponseHead) -> None:
        """A 1xx but 101. Not for HTTP/1.0 clients (RFC 9110 section 15.2)."""
        if self.head.minor == 1:
            self.client.transport.write(render_informational(head))

    def response(self, head: ResponseHead, body: bytes, last: bool, now: int) -> None:
        """The final response's head, with what came of its body in the same read."""
        proxy = self.proxy
        client = self.client
        minor = self.head.minor
        self._status = head.status
        self._failure = None  # that of an earlier attempt
        self._chunked = chunked = sends_chunked(head, minor)
        if not self.request_whole or proxy.draining or (minor == 0 and head.length < NO_BODY):
            self._close = True
        self.response_begun = True
        data = render_response(head, minor, self._close, proxy.date_line)
        if body:
            self._response_bytes = len(body)
        if chunked:
            parts = [data]
            if body:
                parts.append(encode_chunk(body))
            if last:
                parts.append(encode_end(b""))
            client.transport.write(b"".join(parts))
        elif len(body) > _JOIN_LIMIT:
            client.transport.write(data)
            client.transport.write(body)
        else:
            client.transport.write(data + body if body else data)
        if last:
            self._finish(now)
        else:
            client.deadline_ns = now + proxy.timeouts.idle_ns

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of the response's body; `last` with its end."""
        client = self.client
        self._response_bytes += len(body)
        if self._chunked:
            if last:
                tail = encode_end(trailers)
                client.transport.write(encode_chunk(body) + tail if body else tail)
            else:
                client.transport.write(encode_chunk(body))
        elif body:
            client.transport.write(body)
        now = self.proxy.monotonic_ns()
        if last:
            self._finish(now)
        else:
            client.deadline_ns = now + self.proxy.timeouts.idle_ns

    def upstream_paused(self, paused: bool) -> None:
        """The upstream does not keep up with the request, or does again."""
        self._upstream_paused = paused
        self.client.read_body(not paused)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The attempt failed, or took too long."""
        attempt = self.attempt
        now = self.proxy.monotonic_ns()
        stale = failure is UPSTREAM_CLOSED and attempt is not None and attempt.reused
        self._let_go(Outcome.FAILED, "failed")
        if stale and may_resend(self.head) and not self.response_begun:
            # It closed the idle connection just as we took it. Not its failure, so it is not excluded.
            assert attempt is not None
            self.pool.cells[retry_column("stale_connection")] += 1
            self._tried = tuple(upstream for upstream in self._tried if upstream is not attempt.upstream)
            self._resend_fresh(attempt.upstream, now)
        elif self.response_begun:
            self._failure = failure
            self._end(now)
            self.client.break_off()
        else:
            self._fail(failure)

    def _resend_fresh(self, upstream: Upstream, now: int) -> None:
        """The same request on a new connection: a second idle one might be just as stale."""
        again = self.pool.choose(self._tried, now)
        if again is None:
            self._fail(UPSTREAM_CLOSED)
            return
        self._tried = (*self._tried, again)
        self._attempts += 1
        self._dial(again)

    # --- the tunnel

    def switched(self, head: ResponseHead, data: bytes, now: int) -> None:
        """101: from here on both sides speak another protocol, and bytes pass as they come."""
        self._status = 101
        self._failure = None
        self.tunnelling = self.response_begun = True
        self._close = True
        self.pool.cells[POOL_TUNNELS] += 1
        client = self.client
        client.deadline_ns = now + self.proxy.timeouts.tunnel_idle_ns
        self._response_bytes = len(data)
        client.transport.write(render_informational(head) + data)
        client.begin_tunnel()

    def tunnel_to_client(self, data: bytes) -> None:
        """Bytes from the upstream after the upgrade."""
        self._response_bytes += len(data)
        self.client.deadline_ns = self.proxy.monotonic_ns() + self.proxy.timeouts.tunnel_idle_ns
        self.client.transport.write(data)

    def tunnel_ended(self) -> None:
        """The upstream has closed its end."""
        self._end_tunnel(Outcome.SUCCESS)

    def _end_tunnel(self, outcome: Outcome) -> None:
        attempt = self.attempt
        assert attempt is not None
        self.pool.cells[POOL_TUNNELS] -= 1
        self.attempt = None
        now = self.proxy.monotonic_ns()
        attempt.end(outcome, now, "tunnel_ended")
        self.tunnelling = False
        self._end(now)
        self.client.exchange_ended(True, now)

    # --- ends

    def _finish(self, now: int) -> None:
        """The response has been read to its end and written to the client."""
        attempt = self.attempt
        assert attempt is not None
        self.attempt = None
        connection = attempt.connection
        if self.request_whole:
            if self.client.write_paused and not connection.closed:
                connection.transport.resume_reading()
            attempt.end(attempt.outcome, now, None)
        else:
            attempt.end(attempt.outcome, now, "not_reusable")  # the request's rest will never be sent
        self._end(now)
        self.client.exchange_ended(self._close, now)

    def _let_go(self, outcome: Outcome, close_reason: str) -> None:
        """Give up the attempt or the dials, whichever there are."""
        dialling = self._dialling
        if dialling is not None:
            self._dialling = None
            dialling.cancel(outcome)
        attempt = self.attempt
        if attempt is not None:
            self.attempt = None
            attempt.end(outcome, self.proxy.monotonic_ns(), close_reason)

    def _fail(self, failure: Failure) -> None:
        """Answer the client ourselves, or break its connection off where a response has begun."""
        proxy = self.proxy
        now = proxy.monotonic_ns()
        self._failure = failure
        if self.response_begun:
            self._end(now)
            self.client.break_off()
            return
        head = self.head
        if not self.request_whole or proxy.draining or head.minor == 0:
            self._close = True
        self._status = failure.status
        self.response_begun = True
        data = render_failure(
            failure,
            date_line=proxy.date_line,
            close=self._close,
            as_json=prefers_json(head),
            head_only=head.method == b"HEAD",
            request_id=self._request_id,
        )
        self.client.transport.write(data)
        proxy.count_local(failure)
        self._end(now)
        self.client.exchange_ended(self._close, now)

    def _end(self, now: int) -> None:
        """Count and log. After this the exchange may be started again."""
        self.active = False
        self._unsent = []
        self._upstream_paused = False
        route = self._route
        status = self._status
        duration = now - self._started_ns
        route.inflight -= 1
        route.request_bytes += self.request_bytes
        route.response_bytes += self._response_bytes
        cells = route.cells
        cells[METHOD_COLUMN.get(self.head.method, METHOD_OTHER) + CODE_COLUMN[status]] += 1
        cells[ROUTE_DURATION + bisect_left(BUCKET_BOUNDS_NS, duration)] += 1
        cells[ROUTE_DURATION_SUM] += duration
        if self.proxy.records.enabled:
            self._record(duration)

    def _record(self, duration: int) -> None:
        attempt = self._attempt
        tried = self._tried
        began = attempt.started_ns >= self._started_ns
        first_byte = -1
        if began and attempt.first_byte_ns >= 0:
            first_byte = attempt.started_ns - self._started_ns + attempt.first_byte_ns
        self.proxy.record(
            self.client.peer.client_address(self.head),
            self.head,
            self._status,
            self._failure.reason if self._failure is not None else None,
            self._route,
            (attempt.upstream.id if began else tried[-1].id) if tried else None,
            self._attempts,
            began and attempt.reused,
            self.request_bytes,
            self._response_bytes,
            duration,
            first_byte,
            self._request_id,
        )
