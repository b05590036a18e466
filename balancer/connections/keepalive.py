"""Idle reusable connections of one upstream: a stack, the warmest on top."""

from balancer.clock import Clock
from balancer.connections.idle_time import IdleTime
from balancer.connections.roles import IdleOwner, UpstreamSide
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import CLOSE_REASONS, UPSTREAM_CLOSES, UPSTREAM_IDLE, UPSTREAM_REUSES
from balancer.upstreams.upstream import Upstream

CLOSE_COLUMN: dict[str, int] = {reason: UPSTREAM_CLOSES + i for i, reason in enumerate(CLOSE_REASONS)}


class KeepalivePool(IdleOwner):
    """Idle connections of one upstream. Busy ones are not in here, and not counted against `max_idle`.

    The last one put is the first one taken, so that what is not needed grows old at the bottom.
    `expire_all` makes every connection of today too old, in O(1) for the busy ones.

    Where the upstream's own idle timeout has been learned, connections are used only while they have been
    idle for less, and closed after that, all but the oldest: it is the witness, which shows by its end
    whether the time still holds.
    """

    __slots__ = ("_careful_ns", "_cells", "_clock", "_generation", "_idle", "_idle_time", "_reuses",
                 "_settings", "_usable_ns", "upstream")  # fmt: skip

    def __init__(self, upstream: Upstream, settings: KeepaliveSpec, clock: Clock) -> None:
        self.upstream = upstream
        self._clock = clock
        self._settings = settings
        self._cells = upstream.cells
        self._idle: list[UpstreamSide] = []
        self._generation = 0
        self._reuses = 0
        self._idle_time = IdleTime() if settings.learn else None
        # How long a connection may have been idle to be taken: with care, and without.
        self._careful_ns = self._usable_ns = settings.idle_timeout_ns

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def generation(self) -> int:
        """What new connections are to be marked with."""
        return self._generation

    @property
    def learned_ns(self) -> int:
        """The upstream's own idle timeout, 0 while it is not known."""
        return self._idle_time.learned_ns if self._idle_time is not None else 0

    @property
    def usable_ns(self) -> int:
        """How long a connection may have been idle to be taken."""
        return self._usable_ns

    @property
    def careful_ns(self) -> int:
        """How long a connection may have been idle to be taken with care."""
        return self._careful_ns

    def take(self, now_ns: int, careful: bool) -> UpstreamSide | None:
        """The warmest idle connection that may still be used, or None.

        `careful`: for a request that could not be sent again if the upstream closed at this moment.
        """
        idle = self._idle
        usable_ns = self._careful_ns if careful else self._usable_ns
        while idle:
            connection = idle.pop()
            idle_ns = now_ns - connection.idle_since_ns
            if idle_ns > self._settings.idle_timeout_ns:
                # The warmest is too old, so all are. The sweep would find them too, but later.
                self._close(connection, "idle_timeout")
            elif idle_ns > usable_ns:
                idle.append(connection)
                return None  # so are the others below it: they wait for the sweep
            elif connection.is_closing():
                self._closed_by_upstream(connection, now_ns)
                self._close(connection, "upstream_closed")
            else:
                self._reuses += 1
                return connection
        return None

    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """Take back a connection whose exchange is over, or close it where a limit says so."""
        settings = self._settings
        if not connection.release():
            self._close(connection, "not_reusable")
        elif settings.max_requests and connection.requests >= settings.max_requests:
            self._close(connection, "max_requests")
        elif settings.max_lifetime_ns and now_ns - connection.created_ns >= settings.max_lifetime_ns:
            self._close(connection, "max_lifetime")
        elif connection.generation != self._generation:
            self._close(connection, "expired")
        elif len(self._idle) >= settings.max_idle and not self._makes_room(now_ns):
            self._close(connection, "max_idle")
        else:
            connection.idle_since_ns = now_ns
            self._idle.append(connection)

    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """A connection that no attempt holds has ended or said something unasked."""
        if connection in self._idle:
            self._idle.remove(connection)
            if reason == "upstream_closed":
                self._closed_by_upstream(connection, self._clock.monotonic_ns())
            self._close(connection, reason)
        else:
            connection.cancel()  # new and not yet used, or on its way out

    def sweep(self, now_ns: int, *, late: bool = False) -> bool:
        """Close what has been idle too long or lived too long, and bring the counters up to date. `late`:
        this worker was, so nobody knows when those closed that have done so since the last sweep.

        Whether the upstream's own idle timeout has just been learned, or learned anew.
        """
        settings = self._settings
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
        self._close_old(0, now_ns - settings.idle_timeout_ns)
        if settings.max_lifetime_ns:
            for connection in list(idle):
                if now_ns - connection.created_ns >= settings.max_lifetime_ns:
                    idle.remove(connection)
                    self._close(connection, "max_lifetime")
        self._cells[UPSTREAM_IDLE] = len(idle)
        self._cells[UPSTREAM_REUSES] = self._reuses
        return news

    def expire_all(self) -> None:
        """Close the idle ones now, and the busy ones when they come back."""
        self._generation += 1
        for connection in self._idle:
            self._close(connection, "expired")
        self._idle.clear()

    def _close_old(self, first: int, since_ns: int) -> None:
        """Close those idle since before `since_ns`; the `first` oldest ones stay."""
        idle = self._idle
        old = first
        while old < len(idle) and idle[old].idle_since_ns < since_ns:
            old += 1
        for connection in idle[first:old]:
            self._close(connection, "idle_timeout")
        del idle[first:old]

    def _makes_room(self, now_ns: int) -> bool:
        """Whether the oldest idle one could go, being there as a witness only."""
        if not self._idle or now_ns - self._idle[0].idle_since_ns <= self._usable_ns:
            return False
        self._close(self._idle.pop(0), "idle_timeout")
        return True

    def _closed_by_upstream(self, connection: UpstreamSide, now_ns: int) -> None:
        if self._idle_time is not None:
            self._idle_time.closed(now_ns - connection.idle_since_ns)

    def _adopt(self, idle_time: IdleTime) -> bool:
        """Go by what has been learned, or by the setting again; whether something was learned."""
        self._usable_ns = self._careful_ns = self._settings.idle_timeout_ns
        if idle_time.learned_ns:
            self._usable_ns = min(self._usable_ns, idle_time.usable_ns())
            self._careful_ns = min(self._careful_ns, idle_time.surely_usable_ns())
        return idle_time.learned_ns > 0

    def _close(self, connection: UpstreamSide, reason: str) -> None:
        self._cells[CLOSE_COLUMN[reason]] += 1
        connection.cancel()
