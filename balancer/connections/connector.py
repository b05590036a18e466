"""Gets a connection to an upstream: an idle one, or a new one by dialling."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from balancer.clock import Clock
from balancer.connections.dial import Dial, DialContext, Dialler, UpstreamDials
from balancer.connections.intake import Turns
from balancer.connections.keepalive import CLOSE_COLUMN, KeepalivePool
from balancer.connections.roles import UpstreamSide
from balancer.connections.several import Addresses, DialOfSeveral
from balancer.connections.upstream_tls import UpstreamTls
from balancer.http.head_memory import ResponseHeads
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import UPSTREAM_IDLE_TIMEOUT_NS
from balancer.upstreams.upstream import Upstream

_CLOSING_NS: Final = 10_000_000_000  # for the last bytes of a tunnel to go out


class Connector:
    """The keepalive pools of all upstreams of this worker, and the dialling of new connections."""

    __slots__ = ("_addresses", "_clock", "_closing", "_connects", "_dials", "_head_limit", "_heads",
                 "_loop", "_pools", "_say", "_told", "turns")  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        head_limit: int,
        count_limit: int,
        say: Callable[[str, str], object],
        elsewhere: Callable[[Upstream, str, str], object] | None = None,
    ) -> None:
        """The limits apply to response heads. `say(upstream id, text)` logs what was learned about an
        upstream. `elsewhere(upstream, host, reason)` is called when it connects at another address of its
        name; the reason is what failed at its own."""
        self.turns = Turns(loop, clock)  # of all connections, to clients as well
        self._loop = loop
        self._clock = clock
        self._head_limit = head_limit
        self._heads = ResponseHeads(count_limit)
        self._connects: dict[float, DialContext] = {}  # by timeout
        self._addresses = Addresses(loop, clock, elsewhere)
        self._dials: dict[Upstream, UpstreamDials] = {}
        self._say = say
        self._told: set[Upstream] = set()  # upstreams whose idle timeout has been logged
        self._pools: dict[Upstream, KeepalivePool] = {}
        # Closing while the last bytes go out, by deadline: an upstream that reads nothing never takes them.
        self._closing: deque[tuple[int, UpstreamSide]] = deque()

    def add(
        self, upstream: Upstream, settings: KeepaliveSpec, connect_timeout: float | None, tls: UpstreamTls
    ) -> None:
        """Keep connections to this upstream from now on. `connect_timeout` is in seconds, None for the
        kernel's. `tls` is its pool's."""
        self._pools[upstream] = keepalive = KeepalivePool(upstream, settings, self._clock)
        connects = self._connects.get(connect_timeout or 0.0)
        if connects is None:
            connects = DialContext(
                self._loop, self._clock, self.turns, connect_timeout, self._head_limit, self._heads
            )
            self._connects[connect_timeout or 0.0] = connects
        self._dials[upstream] = UpstreamDials(connects, keepalive, tls)

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

    def dial(self, upstream: Upstream, dialler: Dialler, fresh: bool, careful: bool) -> Dial:
        """Begin a new connection, to another address of the upstream's name if its own does not answer; or
        wait for a turn, or unless it must be `fresh`, for one that becomes idle. `careful` as for `take`."""
        dials = self._dials[upstream]
        dial: Dial
        if upstream.other_hosts:
            dial = DialOfSeveral(dialler, dials, fresh, careful, self._addresses)
        else:
            dial = Dial(dialler, dials, fresh, careful)
        dials.start(dial)
        return dial

    def sweep(self, now_ns: int, *, late: bool = False) -> None:
        """Close connections that have been idle too long, and those whose closing takes too long. `late`: the
        worker was late, so closes since the last sweep were seen late."""
        while self._closing and self._closing[0][0] < now_ns:
            self._closing.popleft()[1].cancel()
        for pool in self._pools.values():
            if pool.sweep(now_ns, late=late):
                pool.upstream.cells[UPSTREAM_IDLE_TIMEOUT_NS] = pool.learned_ns  # for a successor
                if pool.upstream not in self._told:
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

    def resume(self, upstream: Upstream, learned_ns: int) -> None:
        """A predecessor of this worker has learned and logged the upstream's own idle timeout; 0: it has
        not."""
        pool = self._pools[upstream]
        if learned_ns and pool.resume(learned_ns, self._clock.monotonic_ns()):
            upstream.cells[UPSTREAM_IDLE_TIMEOUT_NS] = learned_ns
            self._told.add(upstream)

    def remove(self, upstream: Upstream) -> None:
        """Drop everything kept for this upstream, and do not write to its row any more.

        Call this some turns of the loop after its last attempt has ended.
        """
        pool = self._pools.pop(upstream)
        del self._dials[upstream]
        self._told.discard(upstream)
        self._addresses.forget(upstream)
        pool.expire_all()

    def expire(self, upstream: Upstream) -> None:
        """End every connection to this upstream: its address has changed."""
        self._addresses.forget(upstream)
        self._pools[upstream].expire_all()

    def close(self) -> None:
        """Close all idle connections, and cancel timers: the worker is stopping."""
        for connects in self._connects.values():
            connects.close()
        self._addresses.close()
        while self._closing:
            self._closing.popleft()[1].cancel()
        for pool in self._pools.values():
            pool.expire_all()
            pool.sweep(self._clock.monotonic_ns())
