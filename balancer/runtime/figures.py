"""Samples of what is counted, once a second, and what they add up to (L7): rates, percentiles, their history.

Used in one thread at a time, and not on the event loop: a sample of 1,000 upstreams takes some milliseconds.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from balancer.overview.figures import Counts, Rates, rates, share, together
from balancer.overview.history import COARSE, COARSE_STEP, FINE, FINE_STEP, Figures, History
from balancer.overview.losing import Served
from balancer.overview.oddity import Oddities, standing_out
from balancer.overview.timeline import Key, Timeline
from balancer.overview.window import Window
from balancer.runtime.counted import of_side, of_upstream
from balancer.runtime.moment import Moment, PoolMoment
from balancer.runtime.tally import Tally
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample

WINDOW: Final = 10  # seconds that rates are of
_PROMISES: Final = 60  # samples, ten seconds apart, over which promises are judged

Side = tuple[str, str]  # a route, and a pool that serves it


class Sampled:
    """What is counted in all pools by upstream or pool, without a past: the present gauges."""

    __slots__ = ("inflight", "lag", "limit", "queue", "refused")

    def __init__(self) -> None:
        self.inflight: dict[Key, int] = {}
        self.limit: dict[Key, int] = {}
        self.queue: dict[str, int] = {}
        self.refused: dict[str, int] = {}  # so far
        self.lag: dict[str, int] = {}  # ns


class SampledFigures:
    """Call `take` once a second; everything else is about the last sample."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._edges = ledger.edges
        self._sides: Window[Side] = Window(WINDOW)
        self._promises: Window[Side] = Window(_PROMISES)
        self._upstreams: Window[Key] = Window(WINDOW)
        self._refused: deque[tuple[float, dict[str, int]]] = deque(maxlen=WINDOW + 1)
        self._cpu: deque[tuple[float, dict[int, float]]] = deque(maxlen=WINDOW + 1)
        self._samples = 0
        self._served = Served()
        self._oddities = Oddities()
        self.timeline = Timeline()
        self.history = History()
        self.now = Sampled()
        self.workers: list[WorkerSample] = []

    def take(self, moment: Moment) -> None:
        """Sum the segment, and keep what is needed of it."""
        ledger, now = self._ledger, moment.now
        self._edges = moment.edges
        wanted = {(side.route, side.pool) for side in moment.sides}
        sides: dict[Side, Counts] = {}
        for (route, pool), cells in ledger.totals(Kind.ROUTE, wanted):
            sides[route, pool] = of_side(cells)
        self._sides.push(now, sides)
        promised = {(one.route, one.pool) for one in moment.sides if one.slo is not None}
        if self._samples % COARSE_STEP == 0:
            self._promises.push(now, {side: counts for side, counts in sides.items() if side in promised})
        self._take_upstreams(now)
        self._take_pools(moment)
        self._take_workers(moment)
        self.timeline.see(moment.wall, moment.states())
        self._see_served(moment)
        if self._samples % COARSE_STEP == 0:
            self._see_odd(moment)
        self._samples += 1
        self._remember(moment)

    def _take_upstreams(self, now: float) -> None:
        counts: dict[Key, Counts] = {}
        inflight, limit = {}, {}
        for (pool, upstream), cells in self._ledger.totals(Kind.UPSTREAM):
            key = pool, upstream
            counted, before = of_upstream(cells), self._upstreams.newest(key)
            # Most rest at any time: their samples are the same object, and cost nothing to compare.
            counts[key] = before if before is not None and before == counted else counted
            inflight[key] = cells[c.UPSTREAM_INFLIGHT]
            limit[key] = cells[c.UPSTREAM_INFLIGHT_LIMIT]
        self._upstreams.push(now, counts)
        self.now.inflight, self.now.limit = inflight, limit

    def _take_pools(self, moment: Moment) -> None:
        first, end = c.POOL_QUEUE_LENGTH, c.POOL_QUEUE_REJECTED + len(c.QUEUE_REJECTIONS)
        queue, refused = {}, {}
        for pool in moment.pools:
            cells = self._ledger.part(pool.row, first, end)
            queue[pool.name] = cells[0]
            refused[pool.name] = sum(cells[c.POOL_QUEUE_REJECTED - first :])
        self.now.queue, self.now.refused = queue, refused
        self._refused.append((moment.now, refused))

    def _take_workers(self, moment: Moment) -> None:
        self.workers = list(moment.workers())
        self._cpu.append((moment.now, {one.slot: one.cpu_seconds for one in self.workers}))
        lags = self._ledger.totals(Kind.WORKER)
        self.now.lag = {slot: cells[c.WORKER_LOOP_LAG_NS] for (slot,), cells in lags}

    def _see_served(self, moment: Moment) -> None:
        served: dict[Key, float] = {}
        for pool in moment.pools:
            if pool.overloaded:
                continue
            for upstream in pool.states:
                ends = self._upstreams.ends((pool.name, upstream))
                if ends is not None and ends[2] >= WINDOW / 2:
                    before, now, seconds = ends
                    good = now.requests - now.errors - (before.requests - before.errors)
                    served[pool.name, upstream] = good / seconds
        self._served.see(moment.now, served)

    def _see_odd(self, moment: Moment) -> None:
        found: dict[Key, str] = {}
        for pool in moment.pools:
            serving = {id: self.rates_of((pool.name, id)) for id, may in pool.eligible.items() if may}
            found |= {(pool.name, id): why for id, why in standing_out(serving).items()}
        self._oddities.see(moment.wall, found)

    # --- what the last sample says

    def rates_of_sides(self, sides: Iterable[Side], back: int | None = None) -> Rates:
        """Of these together, in the last ten seconds, or since `back` samples ago."""
        return rates(*self._of_sides(sides, back), self._edges)

    def counts_of_side(self, side: Side) -> tuple[Counts | None, float]:
        """What one has counted in the last ten seconds, and in how many."""
        return self._sides.of(side)

    def rates_of(self, key: Key) -> Rates:
        """Of an upstream, in the last ten seconds."""
        return rates(*self._upstreams.of(key), self._edges)

    def promise(self, side: Side) -> Tally | None:
        """What a side with a promise has counted in the last ten minutes, None if that is not known yet."""
        counts, _ = self._promises.of(side)
        if counts is None:
            counts, _ = self._sides.of(side)
        if counts is None:
            return None
        return Tally(counts.requests, counts.errors, tuple(counts.cells), self._edges)

    def odd(self, key: Key) -> tuple[float, str] | None:
        """Since when (seconds since the epoch) an upstream has been unlike the others of its pool, and why;
        None if it is not."""
        return self._oddities.of(key)

    def most_served(self, key: Key) -> float:
        """The most that an upstream has served in ten seconds, per second."""
        return self._served.most(key)

    def refused(self, pool: str) -> float:
        """Requests of a pool that got no slot, per second."""
        then, before = self._refused[0] if self._refused else (0.0, {})
        now, present = self._refused[-1] if self._refused else (0.0, {})
        if now <= then or pool not in before or pool not in present:
            return 0.0
        return round(max(0, present[pool] - before[pool]) / (now - then), 2)

    def cpu(self, slot: int) -> float | None:
        """The share of a core that the workers of a slot have used; None for one that is new."""
        if not self._cpu:
            return None
        (then, before), (now, present) = self._cpu[0], self._cpu[-1]
        if now <= then or slot not in before or slot not in present:
            return None
        return share(max(0, round((present[slot] - before[slot]) * 1e6)), round((now - then) * 1e6))

    def _of_sides(self, sides: Iterable[Side], back: int | None) -> tuple[Counts | None, float]:
        found, longest = [], 0.0
        for side in sides:
            counts, seconds = self._sides.of(side, back)
            if counts is not None:
                found.append(counts)
                longest = max(longest, seconds)
        return together(found), longest

    # --- history

    def _remember(self, moment: Moment) -> None:
        self.history.fine(self._figures(moment, FINE_STEP))
        if self._samples % COARSE_STEP == 0:
            self.history.coarse(self._figures(moment, COARSE_STEP))

    def _figures(self, moment: Moment, back: int) -> dict[str, Figures]:
        by_route: dict[str, list[Side]] = {}
        by_pool: dict[str, list[Side]] = {pool.name: [] for pool in moment.pools}
        for one in moment.sides:
            side = one.route, one.pool
            by_route.setdefault(one.route, []).append(side)
            if one.pool in by_pool:
                by_pool[one.pool].append(side)
        figures: dict[str, Figures] = {
            f"route:{route}": self._series(sides, back) for route, sides in by_route.items()
        }
        for pool in moment.pools:
            series = self._series(by_pool[pool.name], back)
            figures[f"pool:{pool.name}"] = {**series, **self._gauges(pool)}
        return figures

    def _series(self, sides: Iterable[Side], back: int) -> dict[str, float | None]:
        counts, seconds = self._of_sides(sides, back)
        if not seconds:
            return dict.fromkeys(("rps", "errors", "p50", "p95", "p99"))
        found = rates(counts, seconds, self._edges)
        return {
            "rps": found.rps,
            "errors": found.errors,
            "p50": found.p50,
            "p95": found.p95,
            "p99": found.p99,
        }

    def _gauges(self, pool: PoolMoment) -> dict[str, float | None]:
        inflight, limit = self.load(pool.name, pool.states)
        return {"inflight": inflight, "limit": limit, "queue": self.now.queue[pool.name]}

    def load(self, pool: str, upstreams: Iterable[str]) -> tuple[int, int]:
        """How many requests are in flight at these, and how many may be: 0 if one of them has no limit."""
        keys = [(pool, upstream) for upstream in upstreams]
        limits = [self.now.limit.get(key, 0) for key in keys]
        return sum(self.now.inflight.get(key, 0) for key in keys), sum(limits) if all(limits) else 0

    def recorded(self, wall: float, only: str | None = None) -> dict[str, Any]:
        """The history as `/api/history` answers it; `only` is `route:NAME` or `pool:NAME`."""
        kind, _, name = (only or "").partition(":")
        states = {} if kind == "route" else self.timeline.of(name or None)
        return {
            "now": round(wall, 3),
            "fine": {"step": FINE_STEP, "length": FINE},
            "coarse": {"step": COARSE_STEP, "length": COARSE},
            "series": self.history.series(only),
            "states": states,
        }
