"""A new connection to an upstream, for one attempt (L3): between `Connect` and the attempt's dials.

Of one upstream at most MOST_AT_ONCE are being made at the same time, and the others wait for their turn. When
thousands of requests arrive at once, their SYNs would overflow the app's backlog, and the first responses
would stand behind the last connects. Meanwhile the first connections become idle again: a dial that waits, or
is slow to connect, ends with one of these if it comes first.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.clock import Clock
from balancer.connections.connect import Connect, ConnectContext, ConnectOwner, DialFailure
from balancer.connections.delay_queue import DelayQueue
from balancer.connections.intake import Turns
from balancer.connections.keepalive import KeepalivePool
from balancer.connections.roles import IdleWatcher, UpstreamSide
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.connections.upstream_tls import UpstreamTls
from balancer.errors import CONNECT_FAILED
from balancer.http.head_memory import ResponseHeads
from balancer.upstreams.upstream import Upstream

# Per upstream and worker. It must not bound the rate of an app that closes each connection: at a round trip
# of 10 ms this allows 6,400 a second.
MOST_AT_ONCE: Final = 64

_WAITS: Final = 0
_CONNECTS: Final = 1
_OVER: Final = 2


@mypyc_attr(allow_interpreted_subclasses=True)
class Dialler(ABC):
    """Gets one of these calls for each of its dials that it does not cancel, never from within `dial`."""

    __slots__ = ()

    @abstractmethod
    def dialled(self, dial: "Dial", connection: UpstreamSide, reused: bool) -> None:
        """There is a connection; `reused`: it is not new, but became idle meanwhile."""

    @abstractmethod
    def dial_failed(self, dial: "Dial", failure: DialFailure) -> None:
        """There is none."""

    @abstractmethod
    def dial_crashed(self, dial: "Dial", error: Exception) -> None:
        """A bug of ours."""


class Dial(ConnectOwner):
    """A connection to the upstream's address. Ends with a call of its dialler, or with `cancel`, after which
    no connection stays open.

    `fresh`: the connection must be new. `careful`: for a request that cannot be sent again.
    """

    __slots__ = ("_begun_ns", "_connect", "_context", "_dialler", "_dials", "_state",
                 "careful", "fresh", "upstream")  # fmt: skip

    def __init__(self, dialler: Dialler, dials: "UpstreamDials", fresh: bool, careful: bool) -> None:
        self.upstream: Upstream = dials.keepalive.upstream
        self.fresh = fresh
        self.careful = careful
        self._dialler = dialler
        self._dials = dials
        self._context = dials.context
        self._state = _WAITS
        self._begun_ns = 0
        self._connect: Connect | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was cancelled."""
        return self._state == _OVER

    def is_in_time(self, limit_ns: int, now_ns: int) -> bool:
        """Whether it waits, or has waited, only because its upstream is much wanted: that has given a
        connection within `limit_ns`, and this dial has not connected for as long."""
        if now_ns - self._dials.alive_ns >= limit_ns:
            return False
        return self._state == _WAITS or now_ns - self._begun_ns < limit_ns

    def begin(self, begun_ns: int = 0) -> None:
        """Connect. `begun_ns`: the time, if it has waited for its turn."""
        self._state = _CONNECTS
        self._begun_ns = begun_ns
        if self.upstream.host:
            self._start()
        else:  # its address was withdrawn while this dial waited
            self._context.loop.call_soon(self.fail, DialFailure(CONNECT_FAILED, "no address"))

    def cancel(self) -> None:
        """No connection is needed any more."""
        if self._leave():
            self._stop()

    def take_idle(self, now_ns: int) -> bool:
        """It is slow, perhaps because the app's backlog was full for a moment. So it also takes an idle
        connection, now or later. Returns whether it has."""
        return not self.fresh and self._dials.give_idle(self, now_ns)

    def take(self, connection: UpstreamSide) -> None:
        """An idle connection for it."""
        self._leave()
        self._stop()
        self._dialler.dialled(self, connection, True)

    def time_out(self, now_ns: int) -> bool:
        """The connect timeout has passed since it began to wait, or since the last call. Returns whether it
        waits on, because its upstream connects meanwhile. If not, it is over even if it connects by now, or
        it could take twice the timeout."""
        timeout = self._context.timeout
        if self._state == _OVER or timeout is None:
            return False
        if now_ns - self._dials.alive_ns < round(timeout * 1e9):
            return self._state == _WAITS
        self._leave()
        self._stop()
        self._dialler.dial_failed(self, self._context.timed_out(self.upstream))
        return False

    def fail(self, failure: DialFailure) -> None:
        """There will be no connection."""
        if self._leave():
            self._dialler.dial_failed(self, failure)

    def crash(self, error: Exception) -> None:
        """A bug of ours."""
        if self._leave():
            self._stop()
            self._dialler.dial_crashed(self, error)

    def _leave(self) -> bool:
        """It is over; False if it was already."""
        state = self._state
        self._state = _OVER
        if state == _CONNECTS:
            self._dials.ended()
        return state != _OVER

    # --- its connects, of which there is one

    def _start(self) -> None:
        self._connect = connect = self._dials.connect(self, self.upstream.host)
        connect.begin()

    def _stop(self) -> None:
        if self._connect is not None:
            self._connect.cancel()

    def connected(self, connect: Connect, connection: UpstreamConnection) -> None:
        self._dials.alive_ns = self._context.clock.monotonic_ns()
        if self._leave():
            self._dialler.dialled(self, connection, False)

    def connect_failed(self, connect: Connect, failure: DialFailure) -> None:
        self.fail(failure)

    def connect_crashed(self, connect: Connect, error: Exception) -> None:
        self.crash(error)


class DialContext(ConnectContext):
    """What the dials of all pools with the same connect timeout share. A dial that waits for its turn hears
    of the timeout too: `waits`."""

    __slots__ = ("waits",)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        turns: Turns,
        timeout: float | None,
        head_limit: int,
        heads: ResponseHeads,
    ) -> None:
        super().__init__(loop, clock, turns, timeout, head_limit, heads)
        self.waits: DelayQueue[Dial] | None = (
            None if timeout is None else DelayQueue(loop, clock, timeout, self._waited)
        )

    def _waited(self, dial: Dial) -> None:
        """It has waited as long as a connect may take."""
        if dial.time_out(self.clock.monotonic_ns()) and self.waits is not None:
            self.waits.push(dial)

    def close(self) -> None:
        """Cancel the timers."""
        super().close()
        if self.waits is not None:
            self.waits.close()


class UpstreamDials(IdleWatcher):
    """The dials of one upstream. `alive_ns`: when it last gave a connection, new or idle again.

    Those that need a new connection go first, as only a connect helps them.
    """

    __slots__ = ("_fresh", "_running", "_serving", "_slow", "_waiting", "alive_ns", "context", "keepalive",
                 "tls")  # fmt: skip

    def __init__(self, context: DialContext, keepalive: KeepalivePool, tls: UpstreamTls) -> None:
        self.context = context
        self.keepalive = keepalive
        self.tls = tls
        self.alive_ns = 0
        self._running = 0
        self._fresh: deque[Dial] = deque()
        self._waiting: deque[Dial] = deque()
        self._slow: deque[Dial] = deque()  # they take an idle connection too
        self._serving = False  # in the next turn, idle connections go to waiting dials

    def connect(self, owner: ConnectOwner, host: str) -> Connect:
        """A connect to this address of the upstream, which `begin` starts."""
        return Connect(owner, self.context, self.keepalive, host, self.tls)

    def start(self, dial: Dial) -> None:
        """Begin, or let it wait for its turn."""
        if self._running < MOST_AT_ONCE:
            self._running += 1
            dial.begin()
            return
        if dial.fresh:
            _append(self._fresh, dial)
        else:
            _append(self._waiting, dial)
            self.keepalive.watcher = self
        if self.context.waits is not None:
            self.context.waits.push(dial)

    def ended(self) -> None:
        """A dial that had begun is over: the next one begins."""
        self._running -= 1
        if self._fresh or self._waiting:
            dial = _first(self._fresh) or _first(self._waiting)
            if dial is not None:
                self._running += 1
                try:
                    dial.begin(self.context.clock.monotonic_ns())
                except Exception as error:
                    dial.crash(error)

    def idle_again(self) -> None:
        if not self._serving:
            self._serving = True
            self.context.loop.call_soon(self._serve)

    def give_idle(self, dial: Dial, now_ns: int) -> bool:
        """Give an idle connection to a slow dial, now or when there is one. Returns whether it has one."""
        connection = self.keepalive.take(now_ns, dial.careful)
        if connection is None:
            _append(self._slow, dial)
            self.keepalive.watcher = self
            return False
        self.alive_ns = now_ns
        dial.take(connection)
        return True

    def _serve(self) -> None:
        """Give idle connections to slow and to waiting dials."""
        self._serving = False
        now = self.context.clock.monotonic_ns()
        for dials in (self._slow, self._waiting):
            while (dial := _first(dials)) is not None:
                connection = self.keepalive.take(now, dial.careful)
                if connection is None:
                    dials.appendleft(dial)
                    return
                self.alive_ns = now
                dial.take(connection)
        self.keepalive.watcher = None


def _append(dials: deque[Dial], dial: Dial) -> None:
    """Add one at the end. Those over at the front go: of an upstream that keeps no connections, no idle one
    would ever come and remove them."""
    while dials and dials[0].is_over:
        dials.popleft()
    dials.append(dial)


def _first(dials: deque[Dial]) -> Dial | None:
    """Remove the first one that is not over."""
    while dials:
        dial = dials.popleft()
        if not dial.is_over:
            return dial
    return None
