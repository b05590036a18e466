"""One request with its response: from the parsed head to the last byte relayed, whatever happens between.

It stands between the client connection, which frames the request, and the attempt at an upstream, which
`connecting` finds. Every way it can end passes through `_end`, once.
"""

from bisect import bisect_left
from typing import TYPE_CHECKING

from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import (
    DRAIN_TIMEOUT,
    INTERNAL_ERROR,
    LOOP_DETECTED,
    TOTAL_TIMEOUT,
    UPSTREAM_UNRESPONSIVE,
    WANT_OF_A_PLACE,
    Failure,
    Outcome,
    ProtocolError,
    Source,
)
from balancer.http.chunked import encode_piece
from balancer.http.framing import CHUNKED, NO_BODY
from balancer.http.head import RequestHead, ResponseHead
from balancer.http.responses import prefers_json, render_failure
from balancer.http.wire import render_informational, render_request, render_response
from balancer.proxy.attempt import Attempt
from balancer.proxy.connecting import Connecting
from balancer.proxy.loops import STATUS as LOOPED
from balancer.proxy.resending import Resending
from balancer.proxy.router import Route
from balancer.proxy.tunnel import Tunnel
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    CODE_COLUMN,
    METHOD_COLUMN,
    METHOD_OTHER,
    ROUTE_DURATION,
    ROUTE_DURATION_SUM,
    UPSTREAM_LEFT,
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

    __slots__ = ("_chunked", "_close", "_own_attempt", "_resending", "_untaken",
                 "active", "attempt", "client", "connecting", "failure", "head", "informed", "late_ns",
                 "proxy",
                 "request_bytes", "request_id", "request_whole", "response_begun",
                 "response_bytes", "route", "started_ns", "status", "tunnel", "unsent",
                 "upstream_paused")  # fmt: skip

    head: RequestHead
    route: Route

    def __init__(self, client: "ClientConnection", proxy: "Proxy") -> None:
        # for the client connection's life
        self.client = client
        self.proxy = proxy
        self.connecting = Connecting(self, proxy)
        self._own_attempt = Attempt(self)
        self._resending = Resending(self, proxy.kept)
        # for one exchange
        self.active = False
        self.attempt: Attempt | None = None  # holding an upstream connection
        self.tunnel: Tunnel | None = None
        self.request_id = b""
        self.request_whole = True  # the client has sent all of it
        self.request_bytes = 0
        self.response_begun = False  # bytes of the final response have gone to the client
        self.informed = False  # bytes of any response have come, an informational one too
        self.response_bytes = 0
        self.status = 0
        self.failure: Failure | None = None
        self.late_ns = 0  # by how much the worker was late since then
        self.started_ns = 0  # when it began, on the monotonic clock
        self.unsent: tuple[bytes, ...] = ()  # request body, encoded, while there is no connection
        self.upstream_paused = False
        self._untaken = 0  # bytes the upstream had not taken at the last deadline
        self._chunked = False
        self._close = False

    def dissolve(self) -> None:
        """The client connection is gone, and with it all that refers to this."""
        del self.client, self.connecting, self._own_attempt, self._resending

    # --- the client connection's calls

    def start(self, head: RequestHead, body: bytes, whole: bool) -> None:
        """A request begins. `body` is what of its body came with the head; `whole` if that was all."""
        now = self._begin(head, len(body), whole)
        if head.balancers is not None:
            if self.proxy.loops.closes(self):
                self.connecting.reset()
                self.fail(LOOP_DETECTED, self.proxy.loops.detail)
                return
            head.balancers = None  # nor will it, where the same head comes again
        timeouts = self.proxy.timeouts
        self.client.deadline_ns = now + (timeouts.first_byte_ns if whole else timeouts.idle_ns)
        if head.length != NO_BODY:
            self.unsent = tuple(self._encoded(body, whole, b""))
        self.connecting.start(self.route.pool, now)

    def refuse(self, head: RequestHead, error: ProtocolError) -> None:
        """A request whose head is good, but not what follows it."""
        self.connecting.reset()
        self._begin(head, 0, False)
        self.fail(error.failure, error.detail)

    def _begin(self, head: RequestHead, size: int, whole: bool) -> int:
        proxy = self.proxy
        now = proxy.monotonic_ns()
        self.head = head
        self.response_begun = self.informed = False
        self.route = route = proxy.router.match(head)
        route.inflight += 1
        self.active = True
        self.request_id = proxy.request_ids.of(head)
        self.request_whole = whole
        self.request_bytes = size
        self.response_bytes = 0
        self.failure = None
        self.started_ns = now
        self.late_ns = 0
        self._close = not head.keep_alive
        return now

    def request_body(self, body: bytes, whole: bool, trailers: bytes) -> None:
        """More of the request's body, and its trailers with the last piece."""
        self.request_bytes += len(body)
        self.request_whole = whole
        timeouts = self.proxy.timeouts
        limit = timeouts.first_byte_ns if whole and not self.response_begun else timeouts.idle_ns
        self.client.deadline_ns = self.proxy.monotonic_ns() + limit
        pieces = self._encoded(body, whole, trailers)
        if self.attempt is None:
            self.unsent += tuple(pieces)
            self.client.read_on(False)  # one piece is enough until there is a connection
        elif pieces:
            if not self.response_begun:
                self._resending.keep(pieces)
            self.attempt.connection.transport.write(b"".join(pieces))

    def client_paused(self, paused: bool) -> None:
        """The client does not keep up with the response, or does again."""
        if self.attempt is None or self.attempt.connection.closed:
            return
        if paused:
            self.attempt.connection.intake.hold()
            return
        if self.tunnel is None or not self.tunnel.upstream_ended:  # else its FIN would be read once more
            self.attempt.connection.intake.resume()
        if self.tunnel is not None:
            self.tunnel.stay()
        else:
            self.client.deadline_ns = self.proxy.monotonic_ns() + self.proxy.timeouts.idle_ns

    def client_gone(self) -> None:
        """The client has left (FIN or reset): its upstream request is cancelled, and nobody is blamed."""
        if self.tunnel is not None:
            self.tunnel.end()
            return
        self.status = CLIENT_GONE_STATUS
        now = self.proxy.monotonic_ns()
        waited = not self.response_begun and (self.request_whole or self.connecting.waiting)
        if self.attempt is not None and not self.response_begun:
            self.attempt.upstream.cells[UPSTREAM_LEFT] += 1
        self.let_go(Outcome.CLIENT_GONE, "client_gone")
        if waited:
            self.route.pool.client_left(now - self.started_ns, now)
        self._end(now)

    def client_failed(self, failure: Failure, detail: str) -> None:
        """The client broke its request or is too slow: no more of it reaches the app, who is not to blame."""
        self.let_go(Outcome.CLIENT_GONE, "client_gone")
        self.fail(failure, detail)

    def cut_off(self) -> None:
        """The time to drain is over."""
        if self.tunnel is not None:
            self.tunnel.end()
        else:
            self.let_go(Outcome.CANCELLED, "expired")
            self.fail(DRAIN_TIMEOUT, "")

    def crashed(self, error: Exception) -> None:
        """A bug of ours: this exchange ends with 500 and a logged traceback, the worker lives on."""
        self.proxy.report(error)
        if self.tunnel is not None:
            self.tunnel.end()
        elif self.active:
            self._close = True
            self.let_go(Outcome.CANCELLED, "failed")
            self.fail(INTERNAL_ERROR, "")

    def leave_silent(self, now: int) -> bool:
        """Its upstream is known to answer nobody: whether the request does not wait for it any more."""
        attempt = self.attempt
        if attempt is None or not self._resending.leaves(attempt):
            return False
        seconds = (now - attempt.upstream.silent_since_ns) / 1e9
        self.upstream_failed(UPSTREAM_UNRESPONSIVE, f"it has answered nobody for {seconds:.1f} s")
        return True

    # --- the connecting's calls

    def begin_anew(self, now: int) -> None:
        """It has as much time for a response as one that has just come; only the total timeout goes on."""
        timeouts = self.proxy.timeouts
        self.client.deadline_ns = now + (timeouts.first_byte_ns if self.request_whole else timeouts.idle_ns)

    def send(self, upstream: Upstream, connection: UpstreamConnection, reused: bool, now: int) -> None:
        """There is a connection: the request goes out, as far as it has come."""
        self.attempt = attempt = self._own_attempt
        attempt.begin(upstream, connection, reused, now)
        head = self.head
        if reused and head.method not in self.route.pool.retry.methods:
            self._resending.begins_careful(attempt)
        data = render_request(head, self.client.peer, self.request_id, upstream.authority)
        if self.unsent:
            data = b"".join([data, *self.unsent])
            self._resending.keep(self.unsent)
            self.unsent = ()
        connection.transport.write(data)
        if not self.request_whole and not self.upstream_paused:
            self.client.deadline_ns = now + self.proxy.timeouts.idle_ns
            self.client.read_on(True)  # while there was no connection, one piece was enough

    def fail(self, failure: Failure, detail: str) -> None:
        """Answer the client ourselves, or break its connection off where a response has begun."""
        proxy = self.proxy
        now = proxy.monotonic_ns()
        answer = self._resending.answer
        if answer is not None and failure.source is Source.UPSTREAM:
            # An upstream had said no, and nobody else says anything: its own word is better than ours.
            aside, body, upstream = answer
            self._pin(aside, upstream)
            self._relay(aside, body, True, now)
            self._end(now)
            self.client.exchange_ended(self._close, now)
            return
        self.failure = failure
        proxy.exchange_failed(self, failure, detail)
        if self.response_begun:
            self._end(now)
            self.client.break_off()
            return
        head = self.head
        if not self.request_whole or proxy.draining or head.minor == 0:
            self._close = True
        self.status = failure.status
        self.response_begun = True
        data, self.response_bytes = render_failure(
            failure,
            detail,
            date_line=proxy.date_line,
            close=self._close,
            as_json=prefers_json(head),
            head_only=head.method == b"HEAD",
            request_id=self.request_id,
            retry_after=self.route.pool.retry_after() if failure.reason in WANT_OF_A_PLACE else 1,
        )
        self.client.transport.write(data)
        self._end(now)
        self.client.exchange_ended(self._close, now)

    # --- the attempt's calls

    def informational(self, head: ResponseHead) -> None:
        """A 1xx but 101. Not for HTTP/1.0 clients (RFC 9110 section 15.2)."""
        if head.status == 100 and not self.informed and not self.request_whole:
            self.client.deadline_ns = self.proxy.monotonic_ns() + self.proxy.timeouts.idle_ns
        self.informed = True
        if self.head.minor == 1:
            self.client.transport.write(render_informational(head))

    def response(self, head: ResponseHead, body: bytes, last: bool, now: int) -> None:
        """The final response's head, with what came of its body in the same read."""
        if head.status >= 400:
            attempt = self.attempt
            if head.status == LOOPED and attempt is not None and self.proxy.loops.leads_back(self, body):
                attempt.outcome = Outcome.SERVER_ERROR
            if self._resending.after_answer(head, body, last, now):
                return
        if self.route.pool.affinity is not None and self.attempt is not None:
            self._pin(head, self.attempt.upstream)
        self._relay(head, body, last, now)
        if last:
            self._finish(now)
        else:
            self.client.deadline_ns = now + self.proxy.timeouts.idle_ns

    def _relay(self, head: ResponseHead, body: bytes, last: bool, now: int) -> None:
        proxy = self.proxy
        client = self.client
        minor = self.head.minor
        unbounded = head.length < NO_BODY  # chunked, or until the upstream closes
        if not self.request_whole or proxy.draining or (unbounded and minor == 0):
            self._close = True
        self.status = head.status
        self.failure = None  # that of an earlier attempt
        self.response_begun = self.informed = True
        if self._resending.holds:
            self._resending.end()
        self.response_bytes = len(body)
        self._chunked = chunked = unbounded and minor == 1
        data = render_response(head, minor, self._close, proxy.date_line)
        if chunked:
            client.transport.write(b"".join([data, *encode_piece(body, last, b"")]))
        elif len(body) > _JOIN_LIMIT:
            client.transport.write(data)
            client.transport.write(body)
        else:
            client.transport.write(data + body if body else data)

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of the response's body; `last` with its end."""
        self.response_bytes += len(body)
        client = self.client
        if self._chunked:
            if trailers and not self.head.te_trailers:  # RFC 9110 section 6.5.1
                trailers = b""
            client.transport.write(b"".join(encode_piece(body, last, trailers)))
        elif body:
            client.transport.write(body)
        now = self.proxy.monotonic_ns()
        if last:
            self._finish(now)
        else:
            client.deadline_ns = now + self.proxy.timeouts.idle_ns

    def pace(self, paused: bool) -> None:
        """The upstream does not keep up with the request, or does again."""
        self.upstream_paused = paused
        self.upstream_takes()  # from here on progress counts
        if not paused and not self.request_whole:
            self.client.deadline_ns = self.proxy.monotonic_ns() + self.proxy.timeouts.idle_ns
        if self.tunnel is not None:
            self.tunnel.stay()
        self.client.read_on(not paused)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The attempt failed, or took too long."""
        attempt = self.attempt
        if attempt is None:
            # The total time may have passed just after a dial began.
            self.let_go(Outcome.CANCELLED if failure is TOTAL_TIMEOUT else Outcome.CONNECT_FAILED, "failed")
            self.fail(failure, detail)
        elif not self._resending.after_failure(attempt, failure, detail):
            self.fail(failure, detail)

    def upstream_takes(self) -> bool:
        """Whether the upstream has taken some of the request since this was last asked."""
        if self.attempt is None:
            return False
        untaken = self.attempt.connection.transport.get_write_buffer_size()
        progress, self._untaken = untaken != self._untaken, untaken
        return progress

    def switched(self, head: ResponseHead, data: bytes) -> None:
        """101: from here on both sides speak another protocol. `data` is the upstream's first of it."""
        attempt = self.attempt
        assert attempt is not None
        self.status = head.status
        self.failure = None
        self.response_begun = self.informed = True
        if self._resending.holds:
            self._resending.end()
        self._pin(head, attempt.upstream)
        self.tunnel = tunnel = Tunnel(self, attempt, head)
        if data:
            tunnel.from_upstream(data)
        self.client.begin_tunnel(tunnel)

    def _pin(self, head: ResponseHead, served: Upstream) -> None:
        """Sticky sessions: a final response may pin its client to who has answered."""
        affinity = self.route.pool.affinity
        if affinity is not None:
            affinity.answered(self.head, head, served)

    # --- ends

    def tunnel_ended(self) -> None:
        """The tunnel has let go of its upstream connection."""
        self.attempt = self.tunnel = None
        now = self.proxy.monotonic_ns()
        self._end(now)
        self.client.exchange_ended(True, now)

    def _finish(self, now: int) -> None:
        """The response has been read to its end and written to the client."""
        attempt = self.attempt
        assert attempt is not None
        self.attempt = None
        if self.client.write_paused and not attempt.connection.closed:
            attempt.connection.intake.resume()  # else it would be paused for its next exchange
        # A request cut short leaves its connection in mid-message: it cannot serve another.
        attempt.end(attempt.outcome, now, None if self.request_whole else "not_reusable")
        self._end(now)
        self.client.exchange_ended(self._close, now)

    def let_go(self, outcome: Outcome, close_reason: str) -> None:
        """Give up the attempt or the dials, whichever there are."""
        self.connecting.cancel(outcome)
        attempt = self.attempt
        if attempt is not None:
            self.attempt = None
            attempt.end(outcome, self.proxy.monotonic_ns(), close_reason)

    def _end(self, now: int) -> None:
        """Count and log. After this the exchange may be started again."""
        self.active = False
        self.unsent = ()
        if self._resending.holds:
            self._resending.end()
        self.upstream_paused = False
        route = self.route
        duration = now - self.started_ns
        route.inflight -= 1
        route.request_bytes += self.request_bytes
        route.response_bytes += self.response_bytes
        cells = route.cells
        head = self.head
        cells[METHOD_COLUMN.get(head.method, METHOD_OTHER) + CODE_COLUMN[self.status]] += 1
        cells[ROUTE_DURATION + bisect_left(BUCKET_BOUNDS_NS, duration)] += 1
        cells[ROUTE_DURATION_SUM] += duration
        if self.proxy.records.enabled:
            own = self._own_attempt
            sent = own if own.started_ns >= self.started_ns else None
            self.proxy.record_exchange(self, sent, duration)
        if not head.block:
            head.shed()

    def _encoded(self, body: bytes, whole: bool, trailers: bytes) -> list[bytes]:
        if self.head.length == CHUNKED:
            return encode_piece(body, whole, trailers)
        return [body] if body else []
