"""The adaptive concurrency limits of one pool: looks at its upstreams, samples them, applies the limits."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from balancer.clock import Clock
from balancer.limits.concurrency_limit import ConcurrencyBounds, ConcurrencyLimit
from balancer.limits.observed import ObservedUpstream
from balancer.limits.window import Sample
from balancer.telemetry.columns import UPSTREAM_SERVICE_NS
from balancer.upstreams.upstream import Upstream

# A busy pool is looked at every _PERIOD seconds. One look takes samples of up to _ROWS rows (a sample counts
# as some rows: `ObservedUpstream.rows`), so that sampling costs at most some 2 % of the worker's time. With
# more to sample, upstreams take turns; but those with a limit or _BUSY requests are sampled in each look, as
# long as they need at most _BUSY_ROWS. In pools of more than _SHARED upstreams only this worker's own rows
# are read.
_PERIOD: Final = 0.05
_ROWS: Final = 256
_BUSY_ROWS: Final = 192
_SHARED: Final = 64
_BUSY: Final = 2  # requests that await their first byte at one upstream make its pool busy
_STAYS_BUSY: Final = 4  # sweeps
_PASSED: Final = 512  # upstreams without news, at most, that a look passes in search of others to sample
# After a longer gap between two looks this worker was late. That distorts this look and the next one, by
# which all that was waiting has been read.
_GAP_NS: Final = 350_000_000


class AdaptiveLimits:
    """Looks at the pool's candidates at each sweep, and between sweeps while they are busy.

    A look adds up what happens at those with requests in flight, and samples those where something has
    happened. Its cost depends on the traffic, not on the number of upstreams, but for a glance at each.

    An upstream that was not a candidate before, or has a new address, starts afresh: it may be another
    process. While others are limited, it starts with the median of their limits.
    """

    __slots__ = ("_armed", "_bounds", "_busy", "_clock", "_is_busy", "_late", "_looked_ns", "_looks",
                 "_loop", "_next", "_observed", "_rows_of", "changed", "is_awaited", "samples")  # fmt: skip

    def __init__(
        self,
        bounds: ConcurrencyBounds,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        rows: Callable[[int], list[memoryview[int]]],
    ) -> None:
        """`rows` returns the cells of a row in other workers' pages."""
        # Set by the pool; called with the upstreams whose limits have changed.
        self.changed: Callable[[Sequence[Upstream]], None] = _nobody
        self.is_awaited: Callable[[], bool] = _always  # set by the pool: whether requests wait for a slot
        self.samples = 0  # taken so far
        self._bounds = bounds
        self._loop = loop
        self._clock = clock
        self._rows_of = rows
        self._observed: list[ObservedUpstream] = []
        self._next = 0  # whose turn it is to be sampled
        self._armed: asyncio.TimerHandle | None = None
        self._looks = 0
        self._looked_ns = clock.monotonic_ns()
        self._late = False  # whether the last look was
        self._is_busy = False  # whether a look has found the pool busy since the last sweep
        self._busy = 0  # sweeps for which the pool still counts as busy

    def rebuild(self, upstreams: Sequence[Upstream], candidates: Sequence[Upstream]) -> None:
        """Set the pool's current upstreams and candidates."""
        before = {one.upstream: one for one in self._observed}
        limited = [before[one].limit for one in candidates if one in before and before[one].limit.limit]
        like = sorted(limited, key=lambda limit: limit.limit)[len(limited) // 2] if limited else None
        self._observed = []
        shared = len(candidates) <= _SHARED
        for one in candidates:
            kept = before.get(one)
            if kept is None or kept.host != one.host:
                limit = ConcurrencyLimit(self._bounds, like)
                kept = ObservedUpstream(one, limit)
            kept.others = self._rows_of(one.row) if shared else []
            self._observed.append(kept)
        self._next %= max(len(self._observed), 1)
        for one in upstreams:
            one.concurrency_limit = 0
        for observed in self._observed:
            observed.upstream.concurrency_limit = observed.limit.limit

    def resume(self, upstream: Upstream, limit: float, service_ns: int) -> None:
        """Begin with the limit that a predecessor of this worker has found. Call `rebuild` afterwards."""
        for observed in self._observed:
            if observed.upstream is upstream:
                observed.limit.resume(limit, service_ns / 1e9, self._clock.monotonic_ns() / 1e9)

    def sweep(self) -> None:
        """Call this every quarter of a second."""
        for observed in self._observed:
            if observed.limit.limit:  # for a successor
                observed.upstream.cells[UPSTREAM_SERVICE_NS] = int(observed.limit.service * 1e9)
        if self._armed is None:
            self._look()
        if self._is_busy:
            self._is_busy = False
            self._busy = _STAYS_BUSY
        elif self._busy:
            self._busy -= 1
        if self._busy and self._armed is None:
            self._arm()

    def close(self) -> None:
        """Cancel the timer."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _arm(self) -> None:
        self._armed = self._loop.call_later(_PERIOD, self._beat)

    def _beat(self) -> None:
        self._armed = None
        self._look()
        if self._busy:
            self._arm()

    def _look(self) -> None:
        now_ns = self._clock.monotonic_ns()
        passed_ns = now_ns - self._looked_ns
        self._looked_ns = now_ns
        self._looks += 1
        was_late, self._late = self._late, passed_ns > _GAP_NS
        is_distorted = was_late or self._late
        if is_distorted:
            for one in self._observed:
                one.afresh = True
        waited_for = self.is_awaited() or self._is_crowded()
        active = [one for one in self._observed if one.upstream.inflight or one.awaiting or one.others]
        for one in active:
            one.look(passed_ns / 1e9, waited_for)
        samples = self._judge(self._take_turns(active, now_ns), now_ns)
        if not is_distorted:
            # Load that an upstream no longer takes, from this or another worker, would move to the others.
            full = any(one.is_at_limit() for one in active if one.limit.limit)
            if full:
                looks = self._looks
                crowded = [one for one in active if one.turn != looks and one.limit.is_crowded(one.awaiting)]
                samples += self._judge(crowded, now_ns)
            for one, sample in samples:
                if full or (one.others and one.is_limited_elsewhere()):
                    one.limit.press(sample)
        self.samples += len(samples)
        changed = [one.upstream for one, _ in samples if one.apply()]
        if changed:
            self.changed(changed)

    def _judge(self, turn: Sequence[ObservedUpstream], now_ns: int) -> list[tuple[ObservedUpstream, Sample]]:
        return [(one, one.judge(now_ns, self._looks)) for one in turn]

    def _take_turns(self, active: Sequence[ObservedUpstream], now_ns: int) -> list[ObservedUpstream]:
        """The upstreams to sample in this look."""
        look = self._looks
        turn = [one for one in active if one.is_busy(_BUSY)]
        rows = 0
        for one in turn:
            rows += one.rows()
        self._is_busy |= rows > 0
        if rows > _BUSY_ROWS:
            turn, rows = [], 0
        for one in turn:
            one.turn = look
        observed = self._observed
        at, passed = self._next, 0
        for _ in range(len(observed)):
            one = observed[at]
            if one.turn != look:
                if one.is_quiet(now_ns):
                    passed += 1
                elif rows >= _ROWS:
                    self._is_busy = True
                    break
                else:
                    one.turn = look
                    turn.append(one)
                    rows += one.rows()
            if passed == _PASSED:
                break
            at += 1
            if at == len(observed):
                at = 0
        self._next = at
        return turn

    def _is_crowded(self) -> bool:
        """Whether only one of several upstreams has free slots: then the policy is not asked, and no request
        is turned away."""
        free = 0
        for one in self._observed:
            if not one.upstream.is_full():
                free += 1
                if free == 2:
                    return False
        return free == 1 and len(self._observed) > 1


def _nobody(changed: Sequence[Upstream]) -> None:
    pass


def _always() -> bool:
    return True
