"""Sends pools that have changed to the workers (L7): the whole pool each time, and many changes together."""

from collections.abc import Callable

from balancer.clock import Clock
from balancer.messages import PoolUpdate
from balancer.runtime.states import PoolState, UpstreamState

# Seconds. A worker needs 6 to 16 ms to take in a pool of 1,000 upstreams, in which it serves nobody: when
# many change one after the other, it is told of them together.
TELL_EVERY = 0.05
TELL_EVERY_UPSTREAM = TELL_EVERY / 1000  # more than 1,000 have it less often: as much of the time at most


class PoolUpdates:
    """Pools whose changes have yet to be sent. They are sent at once, but no sooner than TELL_EVERY after the
    last time (TELL_EVERY_UPSTREAM for each upstream that was sent then, where that is more), and as they are
    by then."""

    def __init__(
        self,
        revision: Callable[[], int],
        *,
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], object],
        broadcast: Callable[[PoolUpdate], None],
    ) -> None:
        self._revision = revision
        self._clock = clock
        self._call_later = call_later
        self._broadcast = broadcast
        self._untold: dict[str, PoolState] = {}
        self._told_ns = -1 << 62
        self._pause = TELL_EVERY  # seconds after that

    def changed(self, pool: PoolState) -> None:
        """The workers have to hear of this."""
        if not self._untold:
            since = (self._clock.monotonic_ns() - self._told_ns) / 1e9
            self._call_later(max(0.0, self._pause - since), self._tell)
        self._untold[pool.name] = pool

    def tell_of(self, pool: PoolState, upstream: UpstreamState) -> None:
        """If they may never have heard of this upstream of the pool they are told now."""
        if not upstream.told and pool.name in self._untold:
            self._tell()

    def _tell(self) -> None:
        self._told_ns = self._clock.monotonic_ns()
        untold, self._untold = self._untold, {}
        told = sum(len(pool.upstreams) for pool in untold.values())
        self._pause = max(TELL_EVERY, TELL_EVERY_UPSTREAM * told)
        for pool in untold.values():
            for upstream in pool.upstreams.values():
                upstream.told = True
            self._broadcast(pool.update(self._revision()))
