"""Which upstream each attempt of an exchange goes to, and over which connection.

It stands between the exchange and the pool, the keepalive connections and the dials. Nothing is sent before
a connection is handed over: whatever fails here may be tried elsewhere, for any method.
"""

from typing import Final, NamedTuple

from balancer.connections.roles import UpstreamSide
from balancer.errors import (
    APPS_STARTING,
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    NO_UPSTREAM,
    UPSTREAM_CLOSED,
    UPSTREAMS_FULL,
    Failure,
    Outcome,
)
from balancer.policies.base import NO_KEY
from balancer.pools.picture import picture
from balancer.proxy.context import ProxyContext
from balancer.proxy.dialling import Dialling, DialOwner
from balancer.proxy.roles import ConnectionSeeker
from balancer.proxy.side import Side
from balancer.proxy.waits import Waits
from balancer.spec.worker import FOREVER_NS
from balancer.telemetry.columns import (
    POOL_QUEUE_ABANDONED,
    POOL_QUEUE_REJECTED,
    POOL_RETRY_BUDGET_EXHAUSTED,
    QUEUE_REJECTIONS,
    RETRY_COLUMN,
    ROUTE_RETRIES,
)
from balancer.upstreams.fault import client_network
from balancer.upstreams.traffic_history import TrafficHistory
from balancer.upstreams.upstream import Upstream

_MOST_FREE: Final = 32  # attempts that cost nothing and do not count
_NO_ROOM: Final = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("full")
# Failures to connect to an app that is not up yet.
_NOT_THERE: Final = (CONNECT_REFUSED, CONNECT_FAILED, CONNECT_TIMEOUT)
# The reason of a retry after a failed dial; all other failures are connect_failed.
_DIAL_REASONS: Final = {CONNECT_TIMEOUT.reason: "connect_timeout"}


class FailedAttempt(NamedTuple):
    """An attempt that did not succeed; `detail` is for people.

    An attempt that failed with a connection is judged later, when the exchange has shown whose fault it was:
    `history` is then its upstream's at the time of the failure, else None. `began_ns`: when it was sent.
    `whole`: the client had sent the whole request. `ended_ns`: when it had failed.
    """

    upstream: Upstream
    failure: Failure
    detail: str
    history: TrafficHistory | None = None
    outcome: Outcome = Outcome.CANCELLED
    began_ns: int = 0
    whole: bool = True
    ended_ns: int = 0


class RefusedAttempt(NamedTuple):
    """An attempt that was answered with an error after which another upstream was asked."""

    upstream: Upstream
    status: int
    ended_ns: int


class Connecting(DialOwner):
    """Answers each `start`, `retry`, `retry_fresh` and `connect` by calling its seeker's `send` or `fail`, at
    once or later.

    `tried`: the upstreams chosen so far, in order. `attempts`: how often an upstream was chosen.
    `failed_attempts`: the attempts that failed; `refused_attempts`: those answered with an error that was not
    passed on. `pinned`: whom the client is pinned to. While all upstreams are full it is `waiting` in the
    pool's queue, for the first attempt as for later ones; the rules are then the same as while dialling.
    """

    __slots__ = ("_context", "_key", "_seeker", "_side", "_why", "attempts", "dialling", "failed_attempts",
                 "pinned", "refused_attempts", "tried", "waiting", "waits")  # fmt: skip

    _side: Side

    def __init__(self, seeker: ConnectionSeeker, context: ProxyContext) -> None:
        self._seeker = seeker
        self._context = context
        self._why: tuple[Failure, str] | None = None  # the last attempt failed, before or after connecting
        self._key = 0
        self.pinned: Upstream | None = None
        self.dialling: Dialling | None = None
        self.tried: tuple[Upstream, ...] = ()
        self.failed_attempts: tuple[FailedAttempt, ...] = ()
        self.refused_attempts: tuple[RefusedAttempt, ...] = ()
        self.attempts = 0
        self.waiting = False
        self.waits: Waits | None = None  # of an exchange that has waited

    def start(self, side: Side, now: int) -> None:
        """Make the first attempt of a new exchange."""
        self._side = side
        pool = side.pool
        pool.retry_budget.requests += 1
        self.tried = ()
        self.attempts = 0
        if self.waits is not None or self.failed_attempts or self.refused_attempts or self._why is not None:
            self.reset()
        seeker = self._seeker
        head = seeker.head
        affinity = pool.affinity
        hash_key = pool.hash_key
        # Before the hash key, which is computed from the cookies as the app sees them.
        self.pinned = pinned = None if affinity is None else affinity.pinned(head)
        self._key = key = 0 if hash_key is None else hash_key.of(head, seeker.client.peer)
        queue = pool.queue
        if queue is not None and queue.waiting and (pinned is None or not pool.keeps(pinned)):
            self._wait()  # requests that arrived earlier go first
            return
        # Like `retry`, with its calls inlined: nearly all attempts are first ones.
        method = b"" if head.websocket else head.method  # an upgrade is never sent again
        upstream = pool.choose(key, (), now, pinned, method)
        if upstream is None:
            self._found_none()
            return
        self.tried = (upstream,)
        self.attempts = 1
        # An upgrade always dials: if the app refuses it by closing, that must not look like an idle close.
        careful = method not in side.retry.methods
        connection = self._context.connector.take(upstream, now, careful) if method else None
        if connection is not None:
            seeker.send(upstream, connection, True, now)
        else:
            self._dial(upstream, not method, careful)

    def reset(self) -> None:
        """Forget the previous exchange."""
        self._why = None
        self.tried = ()
        self.failed_attempts = ()
        self.refused_attempts = ()
        self.attempts = 0
        self.waits = None

    def may_go_on(self) -> bool:
        """Whether another attempt is allowed.

        Attempts that were refused a connection are free, because they cost no time: while a part of the pool
        is down and not yet ejected, the others must still be found.
        """
        most = self._side.retry.max_attempts
        free = sum((failed.failure.free for failed in self.failed_attempts), 0)
        counted = self.attempts - min(free, _MOST_FREE)
        return counted < most and (most > 1 or self.attempts == 0)

    def retry(self, now: int) -> None:
        """Make an attempt at an upstream not tried yet, at no cost to the retry budget."""
        upstream = self._pick(now)
        if upstream is None:
            self._found_none()
        else:
            self.connect(upstream, now)

    def retry_fresh(self, stale: Upstream, now: int) -> None:
        """Make an attempt over a new connection: an idle one to `stale` was closed just as it was taken.

        That is not the upstream's failure, so it may be chosen again. Its other idle ones may be stale too.
        """
        self._count_retry("stale_connection")
        self.tried = tuple(upstream for upstream in self.tried if upstream is not stale)
        upstream = self._pick(now)
        if upstream is None:
            self._found_none()
        else:
            self._dial(upstream, True, True)

    def next_upstream(self, now: int, reason: str) -> Upstream | None:
        """Choose an upstream not tried yet, to `connect` to after an attempt that was sent. This spends one
        retry of the pool's budget, which must have one. None if the policy finds no upstream."""
        pool = self._side.pool
        self._look(now)
        upstream = pool.choose(self._key, self.tried, now) or pool.choose_backup(self.tried)
        if upstream is not None:
            pool.retry_budget.spend(now)
            self._count_retry(reason)
            self._note(upstream)
        return upstream

    def wait_for_another(self, now: int, reason: str, failure: Failure, detail: str) -> bool:
        """Wait for a slot at an upstream not tried yet. This spends one retry of the pool's budget. False if
        the queue refuses it. `failure` is what the client gets if no slot becomes free in time."""
        pool = self._side.pool
        pool.retry_budget.spend(now)
        if self._join() is not None:
            return False
        self._count_retry(reason)
        self._why = failure, detail
        return True

    def _count_retry(self, reason: str) -> None:
        side = self._side
        side.pool.cells[RETRY_COLUMN[reason]] += 1
        side.counters.count(ROUTE_RETRIES)

    def over_budget(self) -> None:
        """Count a retry that the retry budget did not allow."""
        self._side.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] += 1

    def connect(self, upstream: Upstream, now: int) -> None:
        """Make an attempt at `upstream`, which has already been chosen for it."""
        connection = self._take(upstream, now)
        if connection is not None:
            self._seeker.send(upstream, connection, True, now)
        else:
            self._dial(upstream, self._seeker.head.websocket, self._is_careful())

    def cancel(self, outcome: Outcome) -> None:
        """Stop dialling or queueing: no connection is needed any more."""
        if self.dialling is not None:
            self._dialled(self._context.monotonic_ns())
            dialling, self.dialling = self.dialling, None
            dialling.cancel(outcome)
        elif self.waiting:
            if outcome is Outcome.CLIENT_GONE:
                self._side.pool.cells[POOL_QUEUE_ABANDONED] += 1
            self._leave_queue(-1, "client_gone" if outcome is Outcome.CLIENT_GONE else "cancelled")

    # --- whose request it is (outliers.local_ejector.Asker)

    def network(self) -> str:
        """The client's network, see `client_network`."""
        return client_network(self._seeker.client.peer.client_address(self._seeker.head))

    def holds(self, upstream: Upstream) -> bool:
        """Whether the client chose `upstream`, by its cookie or hash key."""
        return upstream is self.pinned or (self._side.pool.hash_key is not None and self._key != NO_KEY)

    # --- picking

    def _pick(self, now: int) -> Upstream | None:
        self._look(now)
        upstream = self._side.pool.choose(self._key, self.tried, now, self.pinned, self._method())
        # Backups are for requests that have failed, not for connect races: there the dial may only be slow.
        if upstream is None and self.tried:
            upstream = self._side.pool.choose_backup(self.tried)
        if upstream is not None:
            self._note(upstream)
        return upstream

    def _look(self, now: int) -> None:
        """An upstream is about to be chosen: note among which, if the request is explained."""
        account = self._seeker.account
        if account is not None:
            try:
                account.look(picture(self._side.pool, self.tried, now))
            except Exception as error:  # it must not cost the request
                self._context.report(error)

    def _note(self, upstream: Upstream) -> None:
        account = self._seeker.account
        if account is not None:
            account.chose(upstream, self._context.monotonic_ns())
        self.tried = (*self.tried, upstream)
        self.attempts += 1

    def _method(self) -> bytes:
        """The method, which decides if the request may be sent again; empty for upgrades, which may not."""
        head = self._seeker.head
        return b"" if head.websocket else head.method

    def _take(self, upstream: Upstream, now: int) -> UpstreamSide | None:
        if self._seeker.head.websocket:
            return None
        return self._context.connector.take(upstream, now, self._is_careful())

    def _is_careful(self) -> bool:
        return self._seeker.head.method not in self._side.retry.methods

    def _found_none(self) -> None:
        if self._side.pool.is_full(self.tried):
            self._wait()
        else:
            self._give_up(NO_UPSTREAM)

    def _give_up(self, otherwise: Failure) -> None:
        """There is no connection, for the reason that the last attempt failed, `otherwise` without one."""
        failure, detail = self._why or (otherwise, "")
        self._seeker.fail(failure, detail)

    # --- waiting for a slot

    def _wait(self) -> None:
        refused = self._join()
        if refused is not None:
            self._give_up(refused)

    def _join(self) -> Failure | None:
        queue = self._side.pool.queue
        if queue is None:
            self._side.pool.cells[_NO_ROOM] += 1
            return UPSTREAMS_FULL
        refused = queue.join(self)
        if refused is None:
            self._waits().queue(self._context.monotonic_ns())
            self.waiting = True
            account = self._seeker.account
            if account is not None:
                account.queues(self._context.monotonic_ns())
            self._seeker.deadline_ns = FOREVER_NS  # the queue has a deadline of its own
        return refused

    def _leave_queue(self, served_ns: int, result: str) -> None:
        self._waited(result)
        queue = self._side.pool.queue
        assert queue is not None
        queue.leave(self, served_ns)

    def offered(self, now_ns: int) -> bool:
        """There may be a slot: take it, or return False to keep waiting."""
        try:
            upstream = self._pick(now_ns)
            if upstream is not None:
                self._leave_queue(now_ns, "a slot became free")
                self._seeker.begin_anew(now_ns)
                self.connect(upstream, now_ns)
            elif self._side.pool.is_full(self.tried):
                return False
            else:
                self._leave_queue(-1, "no upstream is left")
                self._give_up(NO_UPSTREAM)
        except Exception as error:
            self._seeker.crashed(error)
        return True

    def gave_up(self, failure: Failure) -> None:
        """The queue's deadline has passed."""
        self._waited(failure.reason)
        try:
            self._give_up(failure)
        except Exception as error:
            self._seeker.crashed(error)

    def _waits(self) -> Waits:
        waits = self.waits
        if waits is None:
            waits = self.waits = Waits()
        return waits

    def _waited(self, result: str) -> None:
        """The wait in the queue is over."""
        self.waiting = False
        now = self._context.monotonic_ns()
        if self.waits is not None:
            self.waits.queued(now)
        if self._seeker.account is not None:
            self._seeker.account.waited(None, now, result)

    # --- dialling (DialOwner)

    def _dial(self, upstream: Upstream, fresh: bool, careful: bool) -> None:
        """Dial, or wait for a turn to. Unless it must be `fresh`, the connection may be one that becomes
        idle meanwhile."""
        context = self._context
        now = context.monotonic_ns()
        if self._seeker.trace is not None:
            self._seeker.trace.dial(upstream, now)
        self._waits().connect(now)
        if self._seeker.account is not None:
            self._seeker.account.dials(upstream, now)
        self.dialling = dialling = Dialling(self, context.connector)
        dialling.start(upstream, fresh, careful)
        context.connect_races.push(dialling)

    def race_later(self, dialling: Dialling) -> None:
        self._context.connect_races.push(dialling)

    def now_ns(self) -> int:
        return self._context.monotonic_ns()

    def join_race(self, dialling: Dialling) -> None:
        if not self.may_go_on():
            return
        try:
            now = self._context.monotonic_ns()
            self._look(now)
            upstream = self._side.pool.choose(self._key, self.tried, now)
            if upstream is None:
                return
            self._note(upstream)
            self._count_retry("connect_race")
            connection = self._take(upstream, now)
            if connection is None:
                if self._seeker.trace is not None:
                    self._seeker.trace.dial(upstream, now)
                if self._seeker.account is not None:
                    self._seeker.account.dials(upstream, now)
                dialling.start(upstream, self._seeker.head.websocket, self._is_careful())
            else:
                self.cancel(Outcome.CANCELLED)
                self._seeker.send(upstream, connection, True, now)
        except Exception as error:
            self._seeker.crashed(error)

    def _dialled(self, now: int) -> None:
        if self.waits is not None:
            self.waits.connected(now)

    def dial_crashed(self, upstream: Upstream, error: Exception) -> None:
        self.dialling = None
        self.give_back(upstream, Outcome.CANCELLED)
        self._seeker.crashed(error)

    def attempt_failed(self, upstream: Upstream, failure: Failure, detail: str) -> None:
        now = self._context.monotonic_ns()
        self.failed_attempts += (FailedAttempt(upstream, failure, detail, ended_ns=now),)
        if self._seeker.trace is not None:
            self._seeker.trace.dial_failed(upstream, failure.reason, now)
        account = self._seeker.troubled()
        if account is not None:
            account.dial_failed(upstream, now, failure, detail)

    def give_back(self, upstream: Upstream, outcome: Outcome) -> None:
        self._side.pool.finished(upstream, 0, outcome)

    def connected(self, upstream: Upstream, connection: UpstreamSide, reused: bool) -> None:
        self.dialling = None
        now = self._context.monotonic_ns()
        self._dialled(now)
        if connection.closed or connection.is_closing():  # it closed, or sent data unasked, before its use
            self._context.connector.close_now(connection, "upstream_closed")
            self.give_back(upstream, Outcome.CONNECT_FAILED)
            detail = "the connection ended before it was used"
            self.attempt_failed(upstream, UPSTREAM_CLOSED, detail)
            self.failed(UPSTREAM_CLOSED, detail)
            return
        try:
            self._seeker.send(upstream, connection, reused, now)
        except Exception as error:
            self._seeker.crashed(error)

    def failed(self, failure: Failure, detail: str) -> None:
        self.dialling = None
        self._dialled(self._context.monotonic_ns())
        # While no app has passed a check, unreachable upstreams are expected: not a bad gateway.
        is_starting = self._side.pool.starting and failure in _NOT_THERE
        self._why = APPS_STARTING if is_starting else failure, detail
        try:
            if not self.may_go_on():
                if self._seeker.account is not None:
                    most = self._side.retry.max_attempts
                    self._seeker.account.not_again = (
                        f"it had all its attempts (RETRY__MAX_ATTEMPTS is {most})"
                    )
                self._give_up(failure)
                return
            attempts = self.attempts
            self.retry(self._context.monotonic_ns())
            if self.attempts > attempts or self.waiting:
                reason = _DIAL_REASONS.get(failure.reason, "connect_failed")
                self._count_retry(reason)
        except Exception as error:
            self._seeker.crashed(error)
