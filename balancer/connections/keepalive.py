"""Idle reusable connections of one upstream: a stack, the most recently used on top."""

from typing import Final

from balancer.clock import Clock
from balancer.connections.idle_time import IdleTime
from balancer.connections.roles import IdleOwner, IdleWatcher, UpstreamSide
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import CLOSE_REASONS, UPSTREAM_CLOSES, UPSTREAM_IDLE, UPSTREAM_REUSES
from balancer.upstreams.upstream import Upstream

CLOSE_COLUMN: Final[dict[str, int]] = {reason: UPSTREAM_CLOSES + i for i, reason in enumerate(CLOSE_REASONS)}


class KeepalivePool(IdleOwner):
    """Idle connections of one upstream. Busy ones are not in it, and do not count towards `max_idle`.

    The last one put is the first one taken, so that connections that are not needed age at the bottom.
    `expire_all` expires every present connection, in O(1) for the busy ones.

    Once the upstream's own idle timeout has been learned, connections are used only while they have been idle
    for less, and closed after that, except the oldest: it stays as a witness, and its close shows whether the
    learned time still holds.
    """

    __slots__ = ("_careful_ns", "_cells", "_clock", "_generation", "_idle", "_idle_time",
                 "_idle_timeout_ns", "_max_idle", "_max_lifetime_ns", "_max_requests", "_reuses",
                 "_usable_ns", "upstream", "watcher")  # fmt: skip

    def __init__(self, upstream: Upstream, settings: KeepaliveSpec, clock: Clock) -> None:
        self.upstream = upstream
        self.watcher: IdleWatcher | None = None
        self._clock = clock
        self._idle_timeout_ns = settings.idle_timeout_ns
        self._max_idle = settings.max_idle
        self._max_requests = settings.max_requests
        self._max_lifetime_ns = settings.max_lifetime_ns
        self._cells = upstream.cells
        self._idle: list[UpstreamSide] = []
        self._generation = 0
        self._reuses = 0
        self._idle_time = IdleTime() if settings.learn else None
        # Longest idle time at which a connection is taken: for careful requests, and for others.
        self._careful_ns = self._usable_ns = settings.idle_timeout_ns

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def generation(self) -> int:
        """The generation to mark new connections with."""
        return self._generation

    @property
    def learned_ns(self) -> int:
        """The upstream's own idle timeout, 0 while it is unknown."""
        return self._idle_time.learned_ns if self._idle_time is not None else 0

    @property
    def usable_ns(self) -> int:
        """Longest idle time at which a connection is taken."""
        return self._usable_ns

    @property
    def careful_ns(self) -> int:
        """Longest idle time at which a connection is taken for a careful request."""
        return self._careful_ns

    def take(self, now_ns: int, careful: bool) -> UpstreamSide | None:
        """The most recently used idle connection that may still be used, or None.

        `careful`: for a request that could not be sent again if the upstream closed at this moment.
        """
        idle = self._idle
        usable_ns = self._careful_ns if careful else self._usable_ns
        while idle:
            connection = idle.pop()
            idle_ns = now_ns - connection.idle_since_ns
            if idle_ns > self._idle_timeout_ns:
                # The youngest is too old, so all are. The sweep would close them too, but later.
                self._close(connection, "idle_timeout")
            elif idle_ns > usable_ns:
                idle.append(connection)
                return None  # those below it are older still: the sweep closes them
            elif connection.is_closing():
                self._closed_by_upstream(connection, now_ns)
                self._close(connection, "upstream_closed")
            else:
                self._reuses += 1
                return connection
        return None

    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """Take back a connection whose exchange is over, or close it if a limit requires it."""
        if not connection.release():
            self._close(connection, "not_reusable")
        elif self._max_requests and connection.requests >= self._max_requests:
            self._close(connection, "max_requests")
        elif self._max_lifetime_ns and now_ns - connection.created_ns >= self._max_lifetime_ns:
            self._close(connection, "max_lifetime")
        elif connection.generation != self._generation:
            self._close(connection, "expired")
        elif len(self._idle) >= self._max_idle and not self._makes_room(now_ns):
            self._close(connection, "max_idle")
        else:
            connection.idle_since_ns = now_ns
            self._idle.append(connection)
            if self.watcher is not None:
                self.watcher.idle_again()

    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """A connection that no attempt holds was closed, or sent data unasked."""
        if connection in self._idle:
            self._idle.remove(connection)
            if reason == "upstream_closed":
                self._closed_by_upstream(connection, self._clock.monotonic_ns())
            self._close(connection, reason)
        else:
            connection.cancel()  # new and not yet used, or being closed

    def sweep(self, now_ns: int, *, late: bool = False) -> bool:
        """Close connections that are idle or alive for too long, and update the counters. `late`: the worker
        was late, so the ages of the connections closed since the last sweep are unknown.

        Returns whether the upstream's own idle timeout has just been learned or has changed.
        """
        idle = self._idle
        idle_time = self._idle_time
        news = False
        if late and idle_time is not None:
            idle_time.disregard()
        elif idle_time is not None:
            oldest_ns = now_ns - idle[0].idle_since_ns if idle else 0
            if idle_time.judge(now_ns, oldest_ns):
                news = self._adopt(idle_time)
            if idle_time.learned_ns:
                self._close_old(1, now_ns - self._usable_ns)
        self._close_old(0, now_ns - self._idle_timeout_ns)
        if self._max_lifetime_ns:
            for connection in list(idle):
                if now_ns - connection.created_ns >= self._max_lifetime_ns:
                    idle.remove(connection)
                    self._close(connection, "max_lifetime")
        self._cells[UPSTREAM_IDLE] = len(idle)
        self._cells[UPSTREAM_REUSES] = self._reuses
        return news

    def expire_all(self) -> None:
        """Close the idle ones now, and the busy ones when they are put back."""
        self._generation += 1
        for connection in self._idle:
            self._close(connection, "expired")
        self._idle.clear()

    def _close_old(self, first: int, since_ns: int) -> None:
        """Close connections idle since before `since_ns`, except the `first` oldest ones."""
        idle = self._idle
        old = first
        while old < len(idle) and idle[old].idle_since_ns < since_ns:
            old += 1
        for connection in idle[first:old]:
            self._close(connection, "idle_timeout")
        del idle[first:old]

    def _makes_room(self, now_ns: int) -> bool:
        """Close the oldest idle one if it is only a witness; whether it was."""
        if not self._idle or now_ns - self._idle[0].idle_since_ns <= self._usable_ns:
            return False
        self._close(self._idle.pop(0), "idle_timeout")
        return True

    def _closed_by_upstream(self, connection: UpstreamSide, now_ns: int) -> None:
        if self._idle_time is not None:
            self._idle_time.closed(now_ns - connection.idle_since_ns)

    def resume(self, learned_ns: int, now_ns: int) -> bool:
        """Begin with a learned time; whether it is used."""
        idle_time = self._idle_time
        if idle_time is None:
            return False
        idle_time.resume(learned_ns, now_ns)
        return self._adopt(idle_time)

    def _adopt(self, idle_time: IdleTime) -> bool:
        """Use the learned time, or the setting if there is none; whether there is one."""
        self._usable_ns = self._careful_ns = self._idle_timeout_ns
        if idle_time.learned_ns:
            self._usable_ns = min(self._usable_ns, idle_time.usable_ns())
            self._careful_ns = min(self._careful_ns, idle_time.surely_usable_ns())
        return idle_time.learned_ns > 0

    def _close(self, connection: UpstreamSide, reason: str) -> None:
        self._cells[CLOSE_COLUMN[reason]] += 1
        connection.cancel()
