"""Gets a connection to an upstream: an idle one, or a new one by dialling."""

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from balancer.clock import Clock
from balancer.connections.intake import Turns
from balancer.connections.keepalive import CLOSE_COLUMN, KeepalivePool
from balancer.connections.roles import UpstreamSide
from balancer.connections.several import STAGGER, first_to_connect
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import (
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    EXHAUSTED,
    BalancerError,
    Failure,
    Outcome,
)
from balancer.http.head_memory import ResponseHeads
from balancer.lateness import look_first
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import (
    CONNECT_FAILURE_REASONS,
    UPSTREAM_CONNECT_FAILURES,
    UPSTREAM_CONNECTS,
)
from balancer.upstreams.upstream import Upstream

_REFUSALS: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("refused")
_TIMEOUTS: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("timeout")
_UNREACHABLE: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("unreachable")
_TELL_EVERY_NS: Final = 1_000_000_000  # per upstream
_SLOW_NS: Final = 1_000_000_000
_CLOSING_NS: Final = 10_000_000_000  # for the last bytes of a tunnel to go out


class DialError(BalancerError):
    """Connecting to an upstream failed. Nothing was sent, so another one may be tried. `outcome` is the
    attempt's."""

    def __init__(self, failure: Failure, detail: str, outcome: Outcome = Outcome.CONNECT_FAILED) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.outcome = outcome


class Connector:
    """The keepalive pools of all upstreams of this worker, and the dialling of new connections."""

    __slots__ = ("_clock", "_closing", "_connect_timeout", "_elsewhere", "_head_limit", "_heads",
                 "_loop", "_pools", "_say", "_told", "_unanswered", "turns")  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        connect_timeout: float | None,
        head_limit: int,
        count_limit: int,
        say: Callable[[str, str], object],
        elsewhere: Callable[[Upstream, str, str], object] | None = None,
    ) -> None:
        """`connect_timeout` is in seconds, None for the kernel's; the limits apply to response heads.
        `say(upstream id, text)` logs what was learned about an upstream. `elsewhere(upstream, host, reason)`
        is called when it connects at another address of its name; the reason is what failed at its own."""
        self.turns = Turns(loop, clock)  # of all connections, to clients as well
        self._loop = loop
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._head_limit = head_limit
        self._heads = ResponseHeads(count_limit)
        self._say = say
        self._elsewhere = elsewhere
        # Upstreams that do not connect at their own address: since when, and the last call of `elsewhere`.
        self._unanswered: dict[Upstream, tuple[int, int]] = {}
        self._told: set[Upstream] = set()  # upstreams whose idle timeout has been logged
        self._pools: dict[Upstream, KeepalivePool] = {}
        # Closing while the last bytes go out, by deadline: an upstream that reads nothing never takes them.
        self._closing: deque[tuple[int, UpstreamSide]] = deque()

    def add(self, upstream: Upstream, settings: KeepaliveSpec) -> None:
        """Keep connections to this upstream from now on."""
        self._pools[upstream] = KeepalivePool(upstream, settings, self._clock)

    def take(self, upstream: Upstream, now_ns: int, careful: bool) -> UpstreamSide | None:
        """An idle connection, or None: then dial. `careful`: for a request that cannot be sent again."""
        return self._pools[upstream].take(now_ns, careful)

    def close_now(self, connection: UpstreamSide, reason: str) -> None:
        """Close a busy connection that cannot go back; `reason` is one of CLOSE_REASONS."""
        connection.upstream.cells[CLOSE_COLUMN[reason]] += 1
        connection.cancel()

    def close_when_written(self, connection: UpstreamSide, reason: str) -> None:
        """Like `close_now`, but what has been written still goes out."""
        connection.upstream.cells[CLOSE_COLUMN[reason]] += 1
        connection.close_when_written()
        self._closing.append((self._clock.monotonic_ns() + _CLOSING_NS, connection))

    async def dial(self, upstream: Upstream) -> UpstreamSide:
        """A new connection, to another address of the upstream's name if its own does not answer. Raises
        DialError. If cancelled, no connection is left open."""
        own = upstream.host
        if not upstream.other_hosts:
            return await self._dial(upstream, own)
        connection, host, error = await first_to_connect(
            (own, *upstream.other_hosts),
            lambda each: self._dial(upstream, each),
            lambda late: self.close_now(late, "expired"),
            self._loop,
        )
        if host == own:
            self._unanswered.pop(upstream, None)
        elif upstream.host == own:
            self._failed_over(upstream, host, error)
        return connection

    def _failed_over(self, upstream: Upstream, host: str, error: Exception | None) -> None:
        """The upstream has connected at `host`; its own address has failed with `error`, or is slow. Failure
        is reported at once, slowness only after _SLOW_NS: one lost SYN does not mean that it is dead."""
        now = self._clock.monotonic_ns()
        slow_since, told = self._unanswered.setdefault(upstream, (now, -_TELL_EVERY_NS))
        if isinstance(error, DialError):
            if error.outcome is Outcome.CANCELLED:
                return
            why = error.detail
        elif now - slow_since >= _SLOW_NS:
            why = f"no connection within {STAGGER * 1e3:.0f} ms, repeatedly"
        else:
            return
        if now - told >= _TELL_EVERY_NS and self._elsewhere is not None:
            self._unanswered[upstream] = slow_since, now
            self._elsewhere(upstream, host, why)

    async def _dial(self, upstream: Upstream, host: str) -> UpstreamConnection:
        pool = self._pools[upstream]
        generation = pool.generation  # read before the dial: the address may change meanwhile

        def protocol() -> UpstreamConnection:
            created_ns = self._clock.monotonic_ns()
            connection = UpstreamConnection(
                upstream, pool, self.turns, self._heads, self._head_limit, created_ns
            )
            connection.generation = generation
            return connection

        try:
            async with asyncio.timeout(None) as limit:
                passed = self._passes(limit)
                try:
                    _, connection = await self._loop.create_connection(
                        protocol,  # type: ignore[type-var]  # it has a protocol's methods, all that asyncio needs
                        host,
                        upstream.port,
                    )
                finally:
                    if passed is not None:
                        passed.cancel()
        except TimeoutError:
            upstream.cells[_TIMEOUTS] += 1
            raise DialError(CONNECT_TIMEOUT, f"no connection within {self._connect_timeout} s") from None
        except ConnectionRefusedError:
            upstream.cells[_REFUSALS] += 1
            raise DialError(CONNECT_REFUSED, "connection refused") from None
        except OSError as error:
            upstream.cells[_UNREACHABLE] += 1
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            outcome = Outcome.CANCELLED if error.errno in EXHAUSTED else Outcome.CONNECT_FAILED
            raise DialError(CONNECT_FAILED, name, outcome) from None
        upstream.cells[UPSTREAM_CONNECTS] += 1
        return connection

    def _passes(self, limit: asyncio.Timeout) -> asyncio.TimerHandle | None:
        """Expire `limit` when the connect timeout has passed and all connects finished by then are known."""
        if self._connect_timeout is None:
            return None
        return self._loop.call_later(self._connect_timeout, look_first, self._loop, _is_over, limit)

    def sweep(self, now_ns: int, *, late: bool = False) -> None:
        """Close connections that have been idle too long, and those whose closing takes too long. `late`: the
        worker was late, so closes since the last sweep were seen late."""
        while self._closing and self._closing[0][0] < now_ns:
            self._closing.popleft()[1].cancel()
        for pool in self._pools.values():
            if pool.sweep(now_ns, late=late) and pool.upstream not in self._told:
                self._tell(pool)

    def _tell(self, pool: KeepalivePool) -> None:
        """Log the learned timeout once, for the operator: a longer one set in the app saves connections."""
        self._told.add(pool.upstream)
        learned, usable, careful = (ns / 1e9 for ns in (pool.learned_ns, pool.usable_ns, pool.careful_ns))
        self._say(
            pool.upstream.id,
            f"upstream {pool.upstream.id} closes idle connections after {learned:.3g} s: from now "
            f"on they are reused for up to {usable:.3g} s, and for up to {careful:.3g} s by "
            "requests that cannot be sent again",
        )

    def remove(self, upstream: Upstream) -> None:
        """Drop everything kept for this upstream, and do not write to its row any more.

        Call this some turns of the loop after its last attempt has ended.
        """
        pool = self._pools.pop(upstream)
        self._told.discard(upstream)
        self._unanswered.pop(upstream, None)
        pool.expire_all()

    def expire(self, upstream: Upstream) -> None:
        """End every connection to this upstream: its address has changed."""
        self._unanswered.pop(upstream, None)
        self._pools[upstream].expire_all()

    def close(self) -> None:
        """Close all idle connections: the worker is stopping."""
        while self._closing:
            self._closing.popleft()[1].cancel()
        for pool in self._pools.values():
            pool.expire_all()
            pool.sweep(self._clock.monotonic_ns())


def _is_over(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # the dial has ended
        limit.reschedule(0.0)
