"""Which upstream each attempt of an exchange goes to, and by which connection.

Between the exchange, which wants its request sent, and the pool, the keepalive connections and the dials.
Until a connection is handed over nothing has been sent: whatever fails here may be tried elsewhere, for
any method.
"""

from typing import TYPE_CHECKING, TypeAlias

from balancer.connections.upstream_connection import UpstreamConnection
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
from balancer.pools.hash_key import NO_KEY
from balancer.pools.pool import UpstreamPool
from balancer.proxy.dialling import Dialling
from balancer.proxy.limits import FOREVER_NS
from balancer.proxy.retry import retry_column
from balancer.telemetry.columns import (
    POOL_QUEUE_ABANDONED,
    POOL_QUEUE_REJECTED,
    POOL_RETRY_BUDGET_EXHAUSTED,
    QUEUE_REJECTIONS,
)
from balancer.upstreams.fault import client_network
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange
    from balancer.proxy.proxy import Proxy

Miss: TypeAlias = tuple[Upstream, Failure, str]  # an attempt that failed, why, and in more words

_UNCONNECTED = (CONNECT_REFUSED, CONNECT_FAILED, CONNECT_TIMEOUT)
_MOST_REFUSALS = 32  # that do not count as attempts
_NO_ROOM = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("full")


class Connecting:
    """Answers each `start` or `again` with `exchange.send` or `exchange.fail`, at once or later.

    `tried` are the upstreams chosen so far, in order; `attempts` how many times one was; `misses` what came
    of those that failed. While all upstreams are full it is `waiting` in the pool's queue, a first attempt
    and any other alike; what holds while dialling holds then too.
    """

    __slots__ = ("_detail", "_exchange", "_failure", "_key", "_pinned", "_pool", "_proxy",
                 "attempts", "dialling", "misses", "tried", "waiting")  # fmt: skip

    _pool: UpstreamPool

    def __init__(self, exchange: "Exchange", proxy: "Proxy") -> None:
        self._exchange = exchange
        self._proxy = proxy
        self._failure: Failure | None = None  # why the last attempt could not be connected
        self._detail = ""
        self._key = 0
        self._pinned: Upstream | None = None
        self.dialling: Dialling | None = None
        self.tried: tuple[Upstream, ...] = ()
        self.misses: tuple[Miss, ...] = ()
        self.attempts = 0
        self.waiting = False

    def start(self, pool: UpstreamPool, now: int) -> None:
        """The first attempt of a new exchange."""
        self._pool = pool
        pool.retry_budget.requests += 1
        self.tried = ()
        self.attempts = 0
        if self.misses or self._failure is not None:
            self.reset()
        exchange = self._exchange
        head = exchange.head
        affinity = pool.affinity
        hash_key = pool.hash_key
        # Before the hash key: it goes by the cookies as the app sees them.
        self._pinned = pinned = None if affinity is None else affinity.pinned(head)
        self._key = key = 0 if hash_key is None else hash_key(head, exchange.client.peer)
        queue = pool.queue
        if queue is not None and queue.waiting and (pinned is None or not pool.keeps(pinned)):
            self._wait()  # those who came before go first
            return
        # As `again`, without its calls: nearly every attempt of all is this one.
        method = b"" if head.websocket else head.method  # no upgrade is sent again
        upstream = pool.choose(key, (), now, pinned, method)
        if upstream is None:
            self._found_none()
            return
        self.tried = (upstream,)
        self.attempts = 1
        # An app that refuses an upgrade by closing must not look like one that closed while idle.
        careful = method not in pool.retry.methods
        connection = self._proxy.connector.take(upstream, now, careful) if method else None
        if connection is not None:
            exchange.send(upstream, connection, True, now)
        else:
            self._dial(upstream)

    def reset(self) -> None:
        """Forget the exchange before."""
        self._failure = None
        self._detail = ""
        self.tried = ()
        self.misses = ()
        self.attempts = 0

    def may_go_on(self) -> bool:
        """Whether another attempt is allowed.

        An upstream that refused the connection has cost nobody anything, least of all time: while a part of
        the pool is gone and not yet ejected, those that are left must still be found.
        """
        most = self._pool.retry.max_attempts
        refusals = sum(failure is CONNECT_REFUSED for _, failure, _ in self.misses)
        counted = self.attempts - min(refusals, _MOST_REFUSALS)
        return counted < most and (most > 1 or self.attempts == 0)

    def again(self, now: int) -> None:
        """An attempt at an upstream not tried yet."""
        upstream = self._choose(now)
        if upstream is not None:
            self.proceed(upstream, now)

    def another(self, now: int, reason: str) -> Upstream | None:
        """An upstream not tried yet, to `proceed` to after an attempt that had its chance.

        None where there is none, or where the attempts or the pool's retries are used up.
        """
        if not self.may_go_on():
            return None
        pool = self._pool
        upstream = pool.choose(self._key, self.tried, now) or pool.choose_backup(self.tried)
        if upstream is None:
            return None
        if not pool.retry_budget.spend(now):
            pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] += 1
            pool.finished(upstream, 0, Outcome.CANCELLED)
            return None
        pool.cells[retry_column(reason)] += 1
        self.tried = (*self.tried, upstream)
        self.attempts += 1
        return upstream

    def awaits_another(self, now: int, reason: str, failure: Failure, detail: str) -> bool:
        """Whether the request now waits for a place at an upstream not tried yet, as all of these are full.

        Asked after `another` had none. `failure` is what the client is told if the wait is in vain.
        """
        pool = self._pool
        if not self.may_go_on() or not pool.is_full(self.tried):
            return False
        if not pool.retry_budget.spend(now):
            pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] += 1
            return False
        if self._join() is not None:
            return False
        pool.cells[retry_column(reason)] += 1
        self._failure = failure
        self._detail = detail
        return True

    def proceed(self, upstream: Upstream, now: int) -> None:
        """An attempt at `upstream`, which has been chosen for it."""
        connection = self._take(upstream, now)
        if connection is not None:
            self._exchange.send(upstream, connection, True, now)
        else:
            self._dial(upstream)

    def _take(self, upstream: Upstream, now: int) -> UpstreamConnection | None:
        head = self._exchange.head
        if head.websocket:
            return None
        careful = head.method not in self._pool.retry.methods
        return self._proxy.connector.take(upstream, now, careful)

    def _method(self) -> bytes:
        """Of a request that may be sent again if it fails, as far as its method says so: no upgrade is."""
        head = self._exchange.head
        return b"" if head.websocket else head.method

    # --- whose request it is (pools.suspects.Asker)

    def network(self) -> str:
        exchange = self._exchange
        return client_network(exchange.client.peer.client_address(exchange.head))

    def holds(self, upstream: Upstream) -> bool:
        return upstream is self._pinned or (self._pool.hash_key is not None and self._key != NO_KEY)

    def again_fresh(self, stale: Upstream, now: int) -> None:
        """An attempt by a new connection: an idle one to `stale` ended just as it was taken.

        That is not its failure, so it may be chosen again; another idle one might be just as stale.
        """
        self._pool.cells[retry_column("stale_connection")] += 1
        self.tried = tuple(upstream for upstream in self.tried if upstream is not stale)
        upstream = self._choose(now)
        if upstream is not None:
            self._dial(upstream)

    def cancel(self, outcome: Outcome) -> None:
        """No connection is wanted any more."""
        if self.dialling is not None:
            dialling, self.dialling = self.dialling, None
            dialling.cancel(outcome)
        elif self.waiting:
            if outcome is Outcome.CLIENT_GONE:
                self._pool.cells[POOL_QUEUE_ABANDONED] += 1
            self._leave_queue(-1)

    def _choose(self, now: int) -> Upstream | None:
        upstream = self._pool.choose(self._key, self.tried, now, self._pinned, self._method())
        if upstream is None:
            upstream = self._after_all_others()
        if upstream is not None:
            self.tried = (*self.tried, upstream)
            self.attempts += 1
        else:
            self._found_none()
        return upstream

    def _after_all_others(self) -> Upstream | None:
        """A backup, for a request that has failed. Not in a connect race: a dial may only be slow."""
        return self._pool.choose_backup(self.tried) if self.tried else None

    def _found_none(self) -> None:
        if self._pool.is_full(self.tried):
            self._wait()
        else:
            self._exchange.fail(self._failure or NO_UPSTREAM, self._detail)

    # --- waiting for a place

    def _wait(self) -> None:
        refused = self._join()
        if refused is not None:
            self._exchange.fail(self._failure or refused, self._detail)

    def _join(self) -> Failure | None:
        queue = self._pool.queue
        if queue is None:
            self._pool.cells[_NO_ROOM] += 1
            return UPSTREAMS_FULL
        refused = queue.join(self)
        if refused is None:
            self.waiting = True
            self._exchange.client.deadline_ns = FOREVER_NS  # the queue has a deadline of its own
        return refused

    def _leave_queue(self, served_ns: int) -> None:
        self.waiting = False
        queue = self._pool.queue
        assert queue is not None
        queue.leave(self, served_ns)

    def offered(self, now_ns: int) -> bool:
        """There may be a place: take it, or say False to go on waiting."""
        try:
            upstream = self._pool.choose(self._key, self.tried, now_ns, self._pinned, self._method())
            if upstream is None:
                upstream = self._after_all_others()
            if upstream is not None:
                self._leave_queue(now_ns)
                self.tried = (*self.tried, upstream)
                self.attempts += 1
                self._exchange.begin_anew(now_ns)
                self.proceed(upstream, now_ns)
            elif self._pool.is_full(self.tried):
                return False
            else:
                self._leave_queue(-1)
                self._exchange.fail(self._failure or NO_UPSTREAM, self._detail)
        except Exception as error:
            self._exchange.crashed(error)
        return True

    def gave_up(self, failure: Failure) -> None:
        """The queue's deadline has passed."""
        self.waiting = False
        try:
            self._exchange.fail(self._failure or failure, self._detail)
        except Exception as error:
            self._exchange.crashed(error)

    def _dial(self, upstream: Upstream) -> None:
        self.dialling = dialling = Dialling(self, self._proxy.loop, self._proxy.connector)
        dialling.start(upstream)
        self._proxy.connect_races.push(dialling)

    # --- the dialling's calls

    def join_race(self, dialling: Dialling) -> None:
        """`dialling` has taken long: let another upstream join, if there is one."""
        if not self.may_go_on():
            return
        try:
            now = self._proxy.monotonic_ns()
            upstream = self._pool.choose(self._key, self.tried, now)
            if upstream is None:
                return
            self.tried = (*self.tried, upstream)
            self.attempts += 1
            self._pool.cells[retry_column("connect_race")] += 1
            connection = self._take(upstream, now)
            if connection is None:
                dialling.start(upstream)
            else:
                self.cancel(Outcome.CANCELLED)
                self._exchange.send(upstream, connection, True, now)
        except Exception as error:
            self._exchange.crashed(error)

    def crashed(self, upstream: Upstream, error: Exception) -> None:
        """A bug of ours in dialling `upstream`."""
        self.dialling = None
        self.give_back(upstream, Outcome.CANCELLED)
        self._exchange.crashed(error)

    def missed(self, upstream: Upstream, failure: Failure, detail: str) -> None:
        """An attempt at `upstream` failed."""
        self.misses = (*self.misses, (upstream, failure, detail))

    def give_back(self, upstream: Upstream, outcome: Outcome) -> None:
        """A dial to `upstream` did not become this exchange's connection."""
        self._pool.finished(upstream, 0, outcome)

    def connected(self, upstream: Upstream, connection: UpstreamConnection) -> None:
        """The dialling has a winner."""
        self.dialling = None
        if (
            connection.closed or connection.transport.is_closing()
        ):  # it ended, or spoke unasked, before its use
            self._proxy.connector.close_now(connection, "upstream_closed")
            self.give_back(upstream, Outcome.CONNECT_FAILED)
            detail = "the connection ended before it was used"
            self.missed(upstream, UPSTREAM_CLOSED, detail)
            self.failed(UPSTREAM_CLOSED, detail)
            return
        try:
            self._exchange.send(upstream, connection, False, self._proxy.monotonic_ns())
        except Exception as error:
            self._exchange.crashed(error)

    def failed(self, failure: Failure, detail: str) -> None:
        """All running dials have failed."""
        self.dialling = None
        # While no app has passed a check it is no news that none can be reached: that is no bad gateway.
        is_starting = self._pool.starting and failure in _UNCONNECTED
        self._failure = APPS_STARTING if is_starting else failure
        self._detail = detail
        try:
            if not self.may_go_on():
                self._exchange.fail(self._failure, detail)
                return
            attempts = self.attempts
            self.again(self._proxy.monotonic_ns())
            if self.attempts > attempts or self.waiting:
                reason = "connect_timeout" if failure is CONNECT_TIMEOUT else "connect_failed"
                self._pool.cells[retry_column(reason)] += 1
        except Exception as error:
            self._exchange.crashed(error)
