"""One request with its response: from the parsed head to the last byte relayed, whatever happens in between.

It stands between a client side, which frames the request and renders the response, and the attempt at an
upstream, which `connecting` finds. Every exchange ends with exactly one call of `_end`.
"""

from typing import Final

from balancer.connections.roles import UpstreamSide
from balancer.errors import (
    BODIES_FULL,
    DRAIN_TIMEOUT,
    INTERNAL_ERROR,
    LOOP_DETECTED,
    NO_ROUTE,
    NO_UPSTREAM,
    POOL_HOLDS_TOO_MANY,
    READ_ONLY,
    WANT_OF_A_SLOT,
    Failure,
    Outcome,
    ProtocolError,
    Source,
)
from balancer.http.edits import Facts
from balancer.http.head import HEAD_END
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead
from balancer.http.responses import LONGEST_RETRY_AFTER
from balancer.pools.picture import picture
from balancer.proxy.account import Account
from balancer.proxy.context import ProxyContext
from balancer.proxy.journal import Journal
from balancer.proxy.leaving_tunnel import LeavingTunnel
from balancer.proxy.loops import STATUS as LOOPED
from balancer.proxy.resending import asks_another, goes_again, keep, settle
from balancer.proxy.roles import ClientSide
from balancer.proxy.router import Route
from balancer.proxy.side import Side
from balancer.proxy.state import CLIENT_GONE_STATUS, ExchangeState
from balancer.proxy.tracing import Tracing
from balancer.proxy.tunnel import Tunnel
from balancer.spec.worker import FOREVER_NS
from balancer.telemetry.columns import (
    CODE_COLUMN,
    METHOD_COLUMN,
    METHOD_OTHER,
    ROUTE_BEGAN,
    ROUTE_BROKEN_OFF,
    ROUTE_DURATION,
    ROUTE_DURATION_SUM,
    UPSTREAM_LEFT,
)
from balancer.upstreams.upstream import Upstream

_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS")
# A response whose last byte follows its first one so soon counts as whole: a tenth of the smallest bucket.
_AT_ONCE_NS: Final = 100_000


class Exchange(ExchangeState):
    """Reused for each request of its client side; `active` between `start` and `_end`."""

    __slots__ = ("_journal",)

    def __init__(self, client: ClientSide, context: ProxyContext, journal: Journal) -> None:
        super().__init__(client, context)
        self._journal = journal

    def dissolve(self) -> None:
        """Break the reference cycles: the client side is gone."""
        del self.client, self.connecting, self.own_attempt

    # --- the client side's calls

    def start(self, head: RequestHead, route: Route, body: bytes, whole: bool) -> None:
        """A request begins. `body`: the part of its body that arrived with the head; `whole`: that is all."""
        size = len(body)
        now = self._begin(head, route, size, whole)
        if not route.is_plain and self._stopped(route):
            return
        if route.is_bounded and self.side.share.is_exceeded():
            self.connecting.reset()
            self.fail(POOL_HOLDS_TOO_MANY, "")
            return
        if head.balancers is not None:
            if head.explain:
                self._explain(now)
            pool, peer = self.side.pool.name, self.client.peer.address
            if self.context.loops.closes(head.balancers, pool, peer):
                self.connecting.reset()
                self.fail(LOOP_DETECTED, self.context.loops.detail)
                return
            if not head.explain:
                head.balancers = None  # the answer is the same if this parsed head is used again
        if size:
            self.unsent = (body,)
        self.deadline_ns = now + (route.timeouts.first_byte_ns if whole else route.timeouts.idle_ns)
        self.connecting.start(self.side, now)
        if size and self.unsent:
            self._hold(size)

    def _stopped(self, route: Route) -> bool:
        """Answer a request that no pool gets; returns whether that is so."""
        if self.head.explain:
            self._explain(self.started_ns)
        until = route.read_only_until_ns
        if until and until <= self.started_ns:
            route.read_only_until_ns = until = 0
            route.reconsider()
        if until and self.head.method not in _SAFE:
            self.connecting.reset()
            self.fail(READ_ONLY, "")
        elif route.answers:
            self._answer(route)
        elif route.split is not None and route.split.refuses(self.side, self.head):
            self.connecting.reset()
            self.fail(NO_UPSTREAM, "the upstreams of this side are ejected")
        else:
            return False
        return True

    def _answer(self, route: Route) -> None:
        """The route has no pool."""
        self.connecting.reset()
        answer = route.answer
        if answer is None:
            self.fail(NO_ROUTE, "")
            return
        try:
            head = self._edited(answer.head(self.facts()))
        except ProtocolError as error:
            self.fail(error.failure, error.detail)
            return
        self.status = head.status
        self.response_begun = True
        body = b"" if self.head.method == b"HEAD" else answer.body
        self._answer_whole(head, body, self.context.monotonic_ns())

    def _answer_whole(self, head: ResponseHead, body: bytes, now: int) -> None:
        """Answer the client with a response that is all here."""
        self.response_bytes = len(body)
        self.client.respond(head, body, True)
        self._end(now)
        self.client.ended(now)

    def _edited(self, head: ResponseHead) -> ResponseHead:
        """A response's head as the route changes it."""
        edits, split = self.edits, self.route.split
        if edits is not None and edits.response is not None:
            head = edits.response.apply(head, self.facts())
        if split is not None and self.mark:
            head = split.give(head, self.mark)
        return head

    def facts(self) -> Facts:
        peer = self.client.peer
        return Facts(self.head, peer, self.request_id, peer.scheme)

    def refuse(self, head: RequestHead, route: Route, error: ProtocolError) -> None:
        """Refuse a request whose head is valid, but not what follows it."""
        self.connecting.reset()
        self._begin(head, route, 0, False)
        self.fail(error.failure, error.detail)

    def _begin(self, head: RequestHead, route: Route, size: int, whole: bool) -> int:
        context = self.context
        now = context.monotonic_ns()
        self.head = head
        self.response_begun = self.informed = False
        self.route = route
        self.side = side = route.side if route.is_plain else self._enter(head, route)
        counters = side.counters
        counters.level += 1
        if route.is_bounded:
            side.share.held += 1
        if not counters.pending:
            counters.await_flush()
        batch = context.batch
        batch.running += 1
        if now >= batch.due_ns:
            batch.catch_up(now)
        self.active = True
        self.request_id = context.request_ids.of(head)
        self.request_whole = whole
        self.request_trailers = b""
        self.request_bytes = size
        self.response_bytes = 0
        self.failure = None
        self.started_ns = now
        self.late_ns = 0
        if context.tracing is not None:
            self._trace(context.tracing, head)
        if context.explaining.on:
            self._explain(now)
        return now

    def _explain(self, now: int) -> None:
        """Begin an account of this request, if somebody has asked for one."""
        route, context = self.route, self.context
        if self.account is not None:
            return
        try:
            account = context.explaining.asked(self.head, self.peer, route, now)
            if account is not None and not route.answers:
                account.look(picture(self.side.pool, (), now))
        except Exception as error:  # it must not cost the request
            context.report(error)
            return
        if account is not None:
            self.account = account
            self.holds = True

    def troubled(self) -> Account | None:
        account = self.account
        if account is None:
            context, started = self.context, self.started_ns
            try:
                account = context.explaining.troubled(self.head, self.peer, self.route, started)
            except Exception as error:
                context.report(error)
            if account is not None:
                self.account = account
                self.holds = True
                for one in self.connecting.tried:
                    account.chose(one, started)
        return account

    def _trace(self, tracing: Tracing, head: RequestHead) -> None:
        """Find this request's place in its trace."""
        position = tracing.position(head, self.peer)
        self.trace_id = position.trace_id
        if position.sampled:
            self.trace = tracing.recorded(position)
        else:
            self.trace = None
            self.head_tail = tracing.passed_on(position)

    def _enter(self, head: RequestHead, route: Route) -> Side:
        """The route has stages, or sides: prepare them. `settle` forgets them."""
        self.edits = route.edits
        self.holds = True
        if route.split is None:
            return route.side
        side, self.mark = route.split.choose(head, self.peer)
        return side

    def request_body(self, body: bytes, whole: bool, trailers: bytes) -> None:
        """More of the request's body, and its trailers with the last piece."""
        self.request_bytes += len(body)
        self.request_whole = whole
        self.request_trailers = trailers
        timeouts = self.route.timeouts
        limit = timeouts.first_byte_ns if whole and not self.response_begun else timeouts.idle_ns
        self.deadline_ns = self.context.monotonic_ns() + limit
        attempt = self.attempt
        if attempt is None:
            if body:
                self.unsent += (body,)
                self._hold(len(body))
            return
        if body and not self.response_begun:
            keep(self, [body])
        attempt.connection.more(body, whole, trailers)

    def _hold(self, size: int) -> None:
        """A part of the body, of `size` bytes, waits for a connection."""
        client = self.client
        client.read_on(False)  # one piece is enough
        if not self.context.waiting_bodies.hold(self, self.connecting.network(), size + client.read_ahead()):
            self.upstream_failed(BODIES_FULL, "")

    def give_way(self) -> None:
        if self.unsent:
            try:
                self.upstream_failed(BODIES_FULL, "")
            except Exception as error:
                self.crashed(error)

    def client_paused(self, paused: bool) -> None:
        """The client does not keep up with the response (`paused`), or keeps up again."""
        attempt = self.attempt
        if attempt is None or attempt.connection.closed:
            return
        tunnel = self.tunnel
        if paused:
            attempt.connection.pace(True)
        elif tunnel is None:
            attempt.connection.pace(False)
            self.deadline_ns = self.context.monotonic_ns() + self.route.timeouts.idle_ns
        else:
            if not tunnel.upstream_ended:  # else its FIN would be read again
                attempt.connection.pace(False)
            tunnel.stay()

    def client_gone(self) -> None:
        """The client has left (FIN or reset): cancel the upstream request; it does not count as failed."""
        if self.tunnel is not None:
            self.tunnel.end()
            return
        self.status = CLIENT_GONE_STATUS
        now = self.context.monotonic_ns()
        waited = not self.response_begun and (self.request_whole or self.connecting.waiting)
        if self.attempt is not None and not self.response_begun:
            self.attempt.upstream.cells[UPSTREAM_LEFT] += 1
        self.let_go(Outcome.CLIENT_GONE, "client_gone")
        if waited:
            self.side.pool.client_left(now - self.started_ns, now)
        if self.response_begun:
            self._count_first_byte(now)
        else:
            counters = self.side.counters
            counters.count(ROUTE_BEGAN + counters.edges.cell(now - self.started_ns), -1)
        self._end(now)

    def client_failed(self, failure: Failure, detail: str) -> None:
        """The rest of the request will not arrive; the upstream is not to blame."""
        self.let_go(Outcome.CLIENT_GONE, "client_gone")
        self.fail(failure, detail)

    def cut_off(self) -> None:
        """The drain timeout has passed."""
        if self.tunnel is not None:
            self.tunnel.end()
        else:
            self.let_go(Outcome.CANCELLED, "expired")
            self.fail(DRAIN_TIMEOUT, "")

    def crashed(self, error: Exception) -> None:
        """A bug of ours: this exchange ends with 500 and a logged traceback, the worker keeps running."""
        self.context.report(error)
        if self.tunnel is not None:
            self.tunnel.end()
        elif self.active:
            self.client.last_one()
            self.let_go(Outcome.CANCELLED, "failed")
            self._count_broken_off()
            self.fail(INTERNAL_ERROR, "")

    # --- the connecting's calls (ConnectionSeeker)

    def begin_anew(self, now_ns: int) -> None:
        timeouts = self.route.timeouts
        self.deadline_ns = now_ns + (timeouts.first_byte_ns if self.request_whole else timeouts.idle_ns)

    def send(self, upstream: Upstream, connection: UpstreamSide, reused: bool, now_ns: int) -> None:
        self.attempt = attempt = self.own_attempt
        if self.trace is not None:
            self.head_tail = self.trace.begin(upstream, reused, now_ns)
        attempt.begin(self.side, upstream, connection, reused, now_ns)
        if self.unsent:
            self.context.waiting_bodies.release(self)
            keep(self, self.unsent)
            self.unsent = ()
        if not self.request_whole and not self.upstream_paused:
            self.deadline_ns = now_ns + self.route.timeouts.idle_ns
            self.client.read_on(True)  # while there was no connection, one piece was enough

    def fail(self, failure: Failure, detail: str) -> None:
        """Answer the client ourselves, or reset its connection if a response has begun."""
        now = self.context.monotonic_ns()
        client = self.client
        if self.own_answer is not None and failure.source is Source.UPSTREAM:
            # An upstream answered with an error and no other one answered: that answer is better than ours.
            head, body, upstream = self.own_answer
            self._answer_whole(self._begin_response(head, upstream), body, now)
            return
        self.failure = failure
        self._journal.exchange_failed(self, failure, detail)
        if self.response_begun:
            self._count_first_byte(now)
            self._end(now)
            client.reset()
            return
        self.status = failure.status
        self.response_begun = True
        retry_after = 1
        if failure.reason in WANT_OF_A_SLOT:
            retry_after = self.side.pool.retry_after()
        elif failure is READ_ONLY:
            left_ns = self.route.read_only_until_ns - now
            retry_after = min(max(1, -(-left_ns // 1_000_000_000)), LONGEST_RETRY_AFTER)
        self.response_bytes = client.refuse(failure, detail, self.request_id, retry_after)
        self._end(now)
        client.ended(now)

    # --- the attempt's calls (AttemptOwner)

    def informational(self, head: ResponseHead) -> None:
        """Not for HTTP/1.0 clients (RFC 9110 section 15.2)."""
        if head.status == 100 and not self.informed and not self.request_whole:
            self.deadline_ns = self.context.monotonic_ns() + self.route.timeouts.idle_ns
        self.informed = True
        self.client.inform(head)

    def response(self, head: ResponseHead, body: bytes, last: bool, now_ns: int) -> None:
        attempt = self.attempt
        assert attempt is not None
        if head.status >= 400:
            if head.status == LOOPED and self.context.loops.leads_back(
                self.side.pool.name, attempt.upstream.id, body
            ):
                attempt.outcome = Outcome.SERVER_ERROR
            if asks_another(self, attempt, head, body, last, now_ns):
                return
        # `_begin_response`, inlined.
        if self.edits is not None:
            head = self._edited(head)
        affinity = self.side.pool.affinity
        if affinity is not None:
            head = affinity.answered(self.head, head, attempt.upstream)
            self.sticky = affinity.result
        self.status = head.status
        self.failure = None
        self.response_begun = self.informed = True
        if self.holds:
            settle(self)
        self.response_bytes = len(body)
        self.client.respond(head, body, last)
        if last:
            self._finish(now_ns)
        else:
            self.first_byte_ns = now_ns
            self.deadline_ns = now_ns + self.route.timeouts.idle_ns

    def _begin_response(self, head: ResponseHead, served: Upstream) -> ResponseHead:
        """The final response begins, from the upstream `served`: no other can follow. Returns the head for
        the client."""
        if self.edits is not None:
            head = self._edited(head)
        affinity = self.side.pool.affinity
        if affinity is not None:
            head = affinity.answered(self.head, head, served)
            self.sticky = affinity.result
        self.status = head.status
        self.failure = None  # that of an earlier attempt
        self.response_begun = self.informed = True
        if self.holds:
            settle(self)
        return head

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        self.response_bytes += len(body)
        self.client.more(body, last, trailers)
        now = self.context.monotonic_ns()
        if last:
            if now - self.first_byte_ns > _AT_ONCE_NS:
                self._count_first_byte(now)
            self._finish(now)
        else:
            self.deadline_ns = now + self.route.timeouts.idle_ns

    def pace(self, paused: bool) -> None:
        self.upstream_paused = paused
        if self.attempt is not None:
            self.attempt.connection.takes()  # progress is counted from here on
        if not paused and not self.request_whole:
            self.deadline_ns = self.context.monotonic_ns() + self.route.timeouts.idle_ns
        if self.tunnel is not None:
            self.tunnel.stay()
        self.client.read_on(not paused)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        attempt = self.attempt
        if attempt is None:  # queued or dialling when its timeout passed
            given_up = failure.source is Source.BALANCER
            self.let_go(Outcome.CANCELLED if given_up else failure.outcome, "failed")
            self.fail(failure, detail)
        elif not goes_again(self, attempt, failure, detail):
            self._count_broken_off()
            self.fail(failure, detail)

    # --- tunnels

    def switched(self, head: ResponseHead, data: bytes) -> None:
        attempt = self.attempt
        assert attempt is not None
        head = self._begin_response(head, attempt.upstream)
        self.first_byte_ns = self.context.monotonic_ns()
        self.response_bytes = len(data)
        self.tunnel = Tunnel(self, attempt, self.side, self.route.timeouts, self.context)
        self.tunnel.begin(head, data)

    def client_data(self, data: bytes) -> None:
        """More data from the client, in a tunnel."""
        tunnel = self.tunnel
        assert tunnel is not None
        self.request_bytes += len(data)
        tunnel.from_client(data)

    def client_half_closed(self) -> None:
        """The client has ended its direction of the tunnel."""
        assert self.tunnel is not None
        self.tunnel.client_half_closed()

    def tunnel_data(self, data: bytes) -> None:
        tunnel = self.tunnel
        assert tunnel is not None
        self.response_bytes += tunnel.from_upstream(data)

    def tunnel_half_closed(self) -> None:
        assert self.tunnel is not None
        self.tunnel.upstream_half_closed()

    def tunnel_broke(self) -> None:
        assert self.tunnel is not None
        self.tunnel.end()

    def leave_tunnel(self, until_ns: int) -> None:
        """The worker drains: close the tunnel in good order, which may take until `until_ns`."""
        assert self.tunnel is not None
        self.tunnel = tunnel = LeavingTunnel(self.tunnel)
        self.deadline_ns = until_ns
        try:
            self.response_bytes += tunnel.leave()
        except Exception as error:
            self.crashed(error)

    def tunnel_over(self) -> None:
        self.attempt = self.tunnel = None
        now = self.context.monotonic_ns()
        self._count_first_byte(now)
        self._end(now)
        self.client.last_one()
        self.client.ended(now)

    # --- ends

    def _finish(self, now: int) -> None:
        """The response has been read to its end and written to the client."""
        attempt = self.attempt
        assert attempt is not None
        self.attempt = None
        client = self.client
        if client.paused:
            attempt.connection.pace(False)  # else it would be paused for its next exchange
        # If the request was cut short, the connection is in mid-message and cannot be reused.
        attempt.end(attempt.outcome, now, None if self.request_whole else "not_reusable")
        self._end(now)
        client.ended(now)

    def let_go(self, outcome: Outcome, close_reason: str) -> None:
        self.connecting.cancel(outcome)
        attempt = self.attempt
        if attempt is not None:
            self.attempt = None
            attempt.end(outcome, self.context.monotonic_ns(), close_reason)

    def _count_broken_off(self) -> None:
        """The side is to blame, or we are, for an end before the response's end."""
        if self.response_begun:
            self.side.counters.count(ROUTE_BROKEN_OFF)

    def _count_first_byte(self, now: int) -> None:
        """A response that did not arrive whole ends: `_end` counts its last byte only."""
        started = self.started_ns
        if self.first_byte_ns < started:  # that of an earlier exchange: the client side crashed in `respond`
            return
        counters = self.side.counters
        edges = counters.edges
        began = edges.bucket(self.first_byte_ns - started)
        if began < len(edges.ns) and now - started > edges.ns[began]:
            counters.count(ROUTE_BEGAN + edges.cells[began])
            counters.count(ROUTE_BEGAN + edges.cell(now - started), -1)

    def _end(self, now: int) -> None:
        """Count and log. After this the exchange may be started again."""
        self.active = False
        self.deadline_ns = FOREVER_NS
        if self.unsent:
            self.context.waiting_bodies.release(self)
            self.unsent = ()
        duration = now - self.started_ns
        if self.holds:
            settle(self)
            if self.account is not None:
                self._journal.explain(self, duration)
        self.upstream_paused = False
        counters = self.side.counters
        head = self.head
        counters.level -= 1
        if self.route.is_bounded:
            self.side.share.held -= 1
        counters.request_bytes += self.request_bytes
        counters.response_bytes += self.response_bytes
        counters.measure(
            METHOD_COLUMN.get(head.method, METHOD_OTHER) + CODE_COLUMN[self.status],
            ROUTE_DURATION,
            ROUTE_DURATION_SUM,
            duration,
        )
        if not counters.pending:
            counters.await_flush()
        if self._journal.access_log.enabled:
            self._journal.exchange_ended(self, duration)
        if self.trace is not None:
            self._journal.traced(self, self.trace, duration)
            self.trace = None
            self.head_tail = HEAD_END
        batch = self.context.batch
        batch.running -= 1
        if not batch.running:
            batch.flush()
        if not head.raw:
            head.shed()
