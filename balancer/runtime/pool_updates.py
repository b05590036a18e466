"""Sends changed pools to the workers (L7): the whole pool each time, with many changes together."""

from collections.abc import Callable

from balancer.clock import Clock
from balancer.messages import PoolUpdate
from balancer.runtime.states import PoolState, UpstreamState

# Seconds. A worker needs 6 to 16 ms to apply a pool of 1,000 upstreams, and serves nothing meanwhile: so many
# changes in a row are sent together.
TELL_EVERY = 0.05
TELL_EVERY_UPSTREAM = TELL_EVERY / 1000  # above 1,000 upstreams less often, for the same share of time


class PoolUpdates:
    """Pools with changes to send. They are sent at once, but no sooner than TELL_EVERY after the last time
    (TELL_EVERY_UPSTREAM for each upstream sent then, if that is more), in their state at that moment."""

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
        self._pause = TELL_EVERY  # least seconds after that

    def changed(self, pool: PoolState) -> None:
        """Schedule an update of this pool to the workers."""
        if not self._untold:
            since = (self._clock.monotonic_ns() - self._told_ns) / 1e9
            self._call_later(max(0.0, self._pause - since), self._tell)
        self._untold[pool.name] = pool

    def tell_of(self, pool: PoolState, upstream: UpstreamState) -> None:
        """If the workers may not know this upstream of the pool yet, send the update now."""
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
