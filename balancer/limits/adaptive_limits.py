"""The adaptive concurrency limits of one pool: samples its upstreams and applies the limits."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from balancer.clock import Clock
from balancer.limits.concurrency_limit import ConcurrencyBounds, ConcurrencyLimit
from balancer.limits.window import Sample
from balancer.telemetry.columns import (
    HISTOGRAM_CELLS,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_LEFT,
    UPSTREAM_STREAMING,
)
from balancer.upstreams.upstream import Upstream

# A busy pool is sampled every _PERIOD seconds for up to _ROWS rows; with more rows the period is
# proportionally longer, so that sampling costs at most about 1 % of the worker's time. In pools of more than
# _SHARED upstreams only this worker's own rows are read.
_PERIOD: Final = 0.05
_ROWS: Final = 256
_SHARED: Final = 64
_BUSY: Final = 2  # requests in flight at one upstream make its pool busy
_STAYS_BUSY: Final = 4  # sweeps
# After a longer gap between two samples this worker was late. That distorts this sample and the next one, by
# which all that was waiting has been read.
_GAP_NS: Final = 350_000_000
# The cells that a sample reads are adjacent in a row.
_SAMPLED: Final = slice(UPSTREAM_FIRST_BYTE, UPSTREAM_LEFT + 1)
_SUM: Final = UPSTREAM_FIRST_BYTE_SUM - UPSTREAM_FIRST_BYTE
_INFLIGHT: Final = UPSTREAM_INFLIGHT - UPSTREAM_FIRST_BYTE
_STREAMING: Final = UPSTREAM_STREAMING - UPSTREAM_FIRST_BYTE
_LEFT: Final = UPSTREAM_LEFT - UPSTREAM_FIRST_BYTE


class AdaptiveLimits:
    """Samples the pool's candidates at each sweep, and between sweeps while they are busy.

    An upstream that was not a candidate before, or has a new address, starts afresh: it may be another
    process. While others are limited, it starts with the median of their limits.
    """

    __slots__ = (
        "_armed",
        "_bounds",
        "_busy",
        "_clock",
        "_late",
        "_limits",
        "_loop",
        "_rows",
        "_rows_of",
        "_sampled_ns",
        "changed",
        "is_awaited",
    )

    def __init__(
        self,
        bounds: ConcurrencyBounds,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        rows: Callable[[int], list[memoryview[int]]],
    ) -> None:
        """`rows` returns the cells of a row in other workers' pages."""
        self.changed: Callable[[], None] = _nobody  # set by the pool; called when limits have changed
        self.is_awaited: Callable[[], bool] = _always  # set by the pool: whether requests wait for a slot
        self._bounds = bounds
        self._loop = loop
        self._clock = clock
        self._rows_of = rows
        self._rows = 0  # rows read in one sample
        self._limits: dict[Upstream, tuple[str, ConcurrencyLimit, list[memoryview[int]]]] = {}
        self._armed: asyncio.TimerHandle | None = None
        self._sampled_ns = clock.monotonic_ns()
        self._late = False  # whether the last sample was
        self._busy = 0  # sweeps for which the pool still counts as busy

    def rebuild(self, upstreams: Sequence[Upstream], candidates: Sequence[Upstream]) -> None:
        """Set the pool's current upstreams and candidates."""
        before = self._limits
        limited = [limit for one, (_, limit, _) in before.items() if limit.limit and one in candidates]
        like = sorted(limited, key=lambda limit: limit.limit)[len(limited) // 2] if limited else None
        self._limits = {}
        self._rows = 0
        for one in candidates:
            host, limit, _ = before.get(one, ("", None, None))
            if limit is None or host != one.host:
                limit = ConcurrencyLimit(self._bounds, like)
            others = self._rows_of(one.row) if len(candidates) <= _SHARED else []
            self._limits[one] = one.host, limit, others
            self._rows += 1 + len(others)
        for one in upstreams:
            entry = self._limits.get(one)
            one.concurrency_limit = 0 if entry is None else entry[1].limit

    def sweep(self) -> None:
        """Call this every quarter of a second."""
        if any(one.inflight >= _BUSY or one.concurrency_limit for one in self._limits):
            self._busy = _STAYS_BUSY
        elif self._busy:
            self._busy -= 1
        self._sample()
        if self._busy and self._armed is None:
            self._arm()

    def close(self) -> None:
        """Cancel the timer."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _arm(self) -> None:
        delay = _PERIOD * max(1.0, self._rows / _ROWS)
        self._armed = self._loop.call_later(delay, self._beat)

    def _beat(self) -> None:
        self._armed = None
        self._sample()
        if self._busy:
            self._arm()

    def _sample(self) -> None:
        now_ns = self._clock.monotonic_ns()
        now = now_ns / 1e9
        was_late, self._late = self._late, now_ns - self._sampled_ns > _GAP_NS
        self._sampled_ns = now_ns
        if was_late or self._late:
            for one, (_, limit, others) in self._limits.items():
                limit.begin_anew(_take_sample(now, one, others))
            return
        waited_for = self.is_awaited() or self._is_crowded()
        changed = False
        samples = []
        for one, (_, limit, others) in self._limits.items():
            sample = _take_sample(now, one, others)
            changed |= _takes_up(one, limit.observe(sample, waited_for or one.turned_away))
            one.turned_away = False
            samples.append(sample)
        # Load that an upstream no longer takes, from this or another worker, would move to the others.
        full = any(0 < one.concurrency_limit <= one.inflight - one.streaming for one in self._limits)
        for sample, (one, (_, limit, others)) in zip(samples, self._limits.items(), strict=True):
            if full or (not one.max_inflight and any(cells[UPSTREAM_INFLIGHT_LIMIT] for cells in others)):
                changed |= _takes_up(one, limit.press(sample))
        if changed:
            self.changed()

    def _is_crowded(self) -> bool:
        """Whether only one of several upstreams has free slots: then the policy is not asked, and no request
        is turned away."""
        return len(self._limits) > 1 and sum((not one.is_full() for one in self._limits), 0) == 1


def _takes_up(upstream: Upstream, limit: int) -> bool:
    """Apply the limit; returns whether it has changed."""
    before = upstream.concurrency_limit
    upstream.concurrency_limit = limit
    return limit != before


def _take_sample(now: float, upstream: Upstream, others: Sequence[memoryview[int]]) -> Sample:
    upstream.counters.flush()
    counts = upstream.cells[_SAMPLED].tolist()
    mine = counts[_INFLIGHT] - counts[_STREAMING]
    given = sum(counts[:HISTOGRAM_CELLS], 0)
    for cells in others:
        more = cells[_SAMPLED].tolist()
        if any(more):
            counts = [count + other for count, other in zip(counts, more, strict=True)]
    return Sample(
        now=now,
        mine=mine,
        given=given,
        # Other workers write meanwhile: one count may be slightly older than the other.
        awaiting=max(0, counts[_INFLIGHT] - counts[_STREAMING]),
        answers=counts[:HISTOGRAM_CELLS],
        answered_ns=counts[_SUM],
        left=counts[_LEFT],
    )


def _nobody() -> None:
    pass


def _always() -> bool:
    return True
