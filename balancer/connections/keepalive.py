"""Idle reusable connections of one upstream: a stack, the warmest on top."""

from dataclasses import dataclass

from balancer.connections.upstream_connection import UpstreamConnection
from balancer.telemetry.columns import CLOSE_REASONS, UPSTREAM_CLOSES, UPSTREAM_IDLE, UPSTREAM_REUSES
from balancer.upstreams.upstream import Upstream

CLOSE_COLUMN: dict[str, int] = {reason: UPSTREAM_CLOSES + i for i, reason in enumerate(CLOSE_REASONS)}


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """`max_idle` per upstream and worker; times in nanoseconds; 0 in the last two means no bound."""

    max_idle: int
    idle_timeout_ns: int
    max_requests: int
    max_lifetime_ns: int


class KeepalivePool:
    """Idle connections of one upstream. Busy ones are not in here, and not counted against `max_idle`.

    The last one put is the first one taken, so that what is not needed grows old at the bottom.
    `expire_all` makes every connection of today too old, in O(1) for the busy ones.
    """

    __slots__ = ("_cells", "_generation", "_idle", "_reuses", "_settings", "upstream")

    def __init__(self, upstream: Upstream, settings: KeepaliveSettings) -> None:
        self.upstream = upstream
        self._settings = settings
        self._cells = upstream.cells
        self._idle: list[UpstreamConnection] = []
        self._generation = 0
        self._reuses = 0

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def generation(self) -> int:
        """What new connections are to be marked with."""
        return self._generation

    def take(self, now_ns: int) -> UpstreamConnection | None:
        """The warmest idle connection that may still be used, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now_ns - connection.idle_since_ns > self._settings.idle_timeout_ns:
                # The warmest is too old, so all are. The sweep would find them too, but later.
                self._close(connection, "idle_timeout")
            elif connection.transport.is_closing():
                self._close(connection, "upstream_closed")
            else:
                self._reuses += 1
                return connection
        return None

    def put(self, connection: UpstreamConnection, now_ns: int) -> None:
        """Take back a connection whose exchange is over, or close it where a limit says so."""
        settings = self._settings
        if not connection.reusable or connection.closed or connection.write_paused:
            self._close(connection, "not_reusable")
        elif settings.max_requests and connection.requests >= settings.max_requests:
            self._close(connection, "max_requests")
        elif settings.max_lifetime_ns and now_ns - connection.created_ns >= settings.max_lifetime_ns:
            self._close(connection, "max_lifetime")
        elif connection.generation != self._generation:
            self._close(connection, "expired")
        elif len(self._idle) >= settings.max_idle:
            self._close(connection, "max_idle")
        else:
            connection.release()
            connection.idle_since_ns = now_ns
            self._idle.append(connection)

    def discard(self, connection: UpstreamConnection, reason: str) -> None:
        """A connection that no attempt holds has ended or said something unasked."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._close(connection, reason)
        else:
            connection.close()  # new and not yet used, or on its way out

    def sweep(self, now_ns: int) -> None:
        """Close what has been idle too long or lived too long, and bring the counters up to date."""
        settings = self._settings
        idle = self._idle
        old = 0
        while old < len(idle) and now_ns - idle[old].idle_since_ns > settings.idle_timeout_ns:
            old += 1
        if old:
            for connection in idle[:old]:
                self._close(connection, "idle_timeout")
            del idle[:old]
        if settings.max_lifetime_ns:
            for connection in list(idle):
                if now_ns - connection.created_ns >= settings.max_lifetime_ns:
                    idle.remove(connection)
                    self._close(connection, "max_lifetime")
        self._cells[UPSTREAM_IDLE] = len(idle)
        self._cells[UPSTREAM_REUSES] = self._reuses

    def expire_all(self) -> None:
        """Close the idle ones now, and the busy ones when they come back."""
        self._generation += 1
        for connection in self._idle:
            self._close(connection, "expired")
        self._idle.clear()

    def _close(self, connection: UpstreamConnection, reason: str) -> None:
        self._cells[CLOSE_COLUMN[reason]] += 1
        connection.close()
