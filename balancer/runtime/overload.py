"""Watches for overloaded pools (L7): reads the stats segment, reports to the fleet."""

from functools import partial

from balancer.clock import Clock
from balancer.health.overload import Ends, Figures, Load, Overload
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import Overloaded, PoolState
from balancer.telemetry import columns as c
from balancer.telemetry.ledger import Ledger


class OverloadWatch:
    """Looks at all pools; call `look` every `health.overload.LOOK` seconds."""

    def __init__(self, fleet: Fleet, ledger: Ledger, clock: Clock) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._clock = clock
        self._seen: dict[str, Overload] = {}

    def look(self) -> None:
        """Find pools that have become overloaded, or are no longer."""
        now = self._clock.monotonic_ns()
        for name in self._seen.keys() - self._fleet.pools.keys():
            del self._seen[name]
        for pool in self._fleet.pools.values():
            seen = self._seen.get(pool.name)
            if seen is None:
                seen = self._seen[pool.name] = Overload()
            load = self._load(pool)
            change = seen.look(now, load, partial(self._ends, pool))
            if change is not None and seen.now is not None:
                since = self._clock.wall() - change.seconds
                pool.overload = Overloaded(since, *change.rates())
                self._fleet.overloaded(pool, f"overloaded: {self._described(pool, change, load.waiting)}")
            elif change is not None:
                pool.overload = None
                left = f", {change.left:,} abandoned by clients" if change.left else ""
                text = f"{change.seconds:.0f} s: {change.served:,} served, {change.refused:,} refused{left}"
                self._fleet.overload_over(pool, f"no longer overloaded, after {text}")
            elif pool.overload is not None and seen.now is not None:
                pool.overload = Overloaded(pool.overload.since, *seen.now.rates())

    def _load(self, pool: PoolState) -> Load:
        first, end = c.POOL_QUEUE_LENGTH, c.POOL_QUEUE_REJECTED + len(c.QUEUE_REJECTIONS)
        cells = self._ledger.part(pool.row, first, end)
        return Load(refused=sum(cells[c.POOL_QUEUE_REJECTED - first :]), waiting=cells[0])

    def _ends(self, pool: PoolState) -> Ends:
        served, left = 0, self._ledger.part(pool.row, c.POOL_QUEUE_ABANDONED, c.POOL_QUEUE_ABANDONED + 1)[0]
        for one in pool.upstreams.values():
            end = c.UPSTREAM_FIRST_BYTE + c.HISTOGRAM_CELLS
            cells = self._ledger.part(one.row, c.UPSTREAM_LEFT, end)
            left += cells[0]
            served += sum(cells[c.UPSTREAM_FIRST_BYTE - c.UPSTREAM_LEFT :])
        return Ends(served, left)

    def _described(self, pool: PoolState, figures: Figures, waiting: int) -> str:
        """For example "4 upstreams, limit 2 to 3 each, 402/s served, 798/s refused, 12 wait"."""
        used = [one for one in pool.upstreams.values() if one.is_eligible()] or list(pool.upstreams.values())
        column = c.UPSTREAM_INFLIGHT_LIMIT
        limits = [limit for one in used if (limit := self._ledger.part(one.row, column, column + 1)[0])]
        parts = ["1 upstream" if len(used) == 1 else f"{len(used):,} upstreams"]
        if limits:
            low, high, all_of_them = min(limits), max(limits), len(limits) == len(used)
            span = f"limit {low:,}" if low == high else f"limit {low:,} to {high:,}"
            each = "" if len(used) == 1 else " each" if all_of_them else f" at {len(limits):,} of them"
            parts.append(span + each)
        served, refused, left = figures.rates()
        parts += [f"{_rate(served)} served", f"{_rate(refused)} refused"]
        if left:
            parts.append(f"{_rate(left)} abandoned by clients")
        if waiting:
            parts.append(f"{waiting:,} waiting")
        return ", ".join(parts)


def _rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if 0 < per_second < 10 else f"{per_second:,.0f}/s"
