"""Active checks (L4): when each upstream is checked.

One for the whole instance, in the supervisor: callbacks and short decisions on its event loop. A check itself
is the probe's, one task while it runs; what its result means is said in `conclusions`.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Generic

from balancer.clock import Clock
from balancer.health.conclusions import Conclusions
from balancer.health.doors import Doors, UpstreamT
from balancer.health.durations import Durations
from balancer.health.loop_lag import LoopLag
from balancer.health.probe import OpenProbe
from balancer.health.result import CheckResult, Reply
from balancer.health.settings import CheckSettings
from balancer.health.watch import Watch

AT_ONCE = 256  # checks running at a time, of all pools; more wait in order
# A period, from start to start, is this share of INTERVAL at least, and never more than INTERVAL: checks do
# not fall into step, and FALL failures are in within FALL x INTERVAL. The first period is drawn from nearly
# the whole of INTERVAL, which spreads what has started at once.
SHORTEST_PERIOD = 0.9
SHORTEST_FIRST_PERIOD = 0.1
# Live responses are read only once this share of TIMEOUT has passed: hardly any check takes that long, and to
# read them is to add up a row of every worker.
QUICK = 0.1


class ActiveChecks(Generic[UpstreamT]):
    """Checks upstreams from `start` to `close`: all at once at first, then each at its own beat.

    Never more than one check of an upstream at a time. An upstream that is added later is checked at once; of
    a removed one nothing is heard any more.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        outcome: Doors[UpstreamT],
        open_probe: OpenProbe,
        loop: asyncio.AbstractEventLoop,
        at_once: int = AT_ONCE,
    ) -> None:
        self._clock = clock
        self._random = random
        self._doors = outcome
        self._open_probe = open_probe
        self._loop = loop
        self._room = at_once
        self._lag = LoopLag(clock, loop)
        self._conclusions = Conclusions(clock, self._lag, outcome)
        self._watches: dict[tuple[str, str], Watch[UpstreamT]] = {}
        self._waiting: deque[Watch[UpstreamT]] = deque()
        self._first: set[Watch[UpstreamT]] = set()  # there at start, with an address, and not checked yet
        self._tasks: set[asyncio.Task[Reply] | asyncio.Task[None]] = set()
        self._started = False

    # --- whom to check

    def start(self) -> None:
        """Begin: the first checks of all upstreams that are there, at once."""
        self._started = True
        self._lag.start()
        watches = list(self._watches.values())
        self._first.update(watch for watch in watches if watch.upstream.address)
        for watch in watches:
            self._due(watch)

    def add(
        self, upstream: UpstreamT, settings: CheckSettings, *, failing: bool = False, draining: bool = False
    ) -> None:
        """Check this upstream from now on; the first time at once.

        `failing` and `draining` say what checks have shown of it before, if it was removed for a while.
        """
        probe = self._open_probe(upstream.id, settings)
        watch = Watch(upstream, settings, probe, failing, draining)
        self._watches[upstream.pool, upstream.id] = watch
        self._conclusions.durations.setdefault(upstream.pool, Durations())
        if self._started:
            self._due(watch)

    def remove(self, upstream: UpstreamT) -> None:
        """Check it no more: a check that runs is cancelled, its connection closed, its counts forgotten."""
        watch = self._watches.pop((upstream.pool, upstream.id), None)
        if watch is None:
            return
        watch.removed = True
        watch.disarm()
        self._first.discard(watch)
        if watch.task is None:
            self._close_probe(watch)
        else:
            watch.task.cancel()

    def moved(self, upstream: UpstreamT) -> None:
        """Its address has changed: check it at once. Without this call the next check notices."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None:
            return
        if watch.task is not None:
            watch.next_ns = self._clock.monotonic_ns()  # what runs says nothing about the new address
            watch.task.cancel()
        elif watch.timer is not None:  # else it has not begun, or it waits for its turn
            watch.disarm()
            self._due(watch)

    async def close(self) -> None:
        """Check no more, and wait until every connection is closed."""
        self._lag.stop()
        for watch in list(self._watches.values()):
            self.remove(watch.upstream)
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # for their callbacks, which may close a probe

    # --- what is known

    @property
    def first_round_done(self) -> bool:
        """Whether every upstream that was there at start, and had an address, has been checked once.

        A result that counts for nothing will do: readiness must not wait for an upstream that is slow.
        """
        return self._started and not self._first

    def last(self, upstream: UpstreamT) -> CheckResult | None:
        """Its last check; None before the first, and where it is not checked."""
        watch = self._watches.get((upstream.pool, upstream.id))
        return watch.last if watch is not None else None

    def counts(self, upstream: UpstreamT) -> Mapping[str, int]:
        """How often its checks ended in which result; results that have not come yet are left out."""
        watch = self._watches.get((upstream.pool, upstream.id))
        return watch.counts if watch is not None else {}

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long checks took, by pool; without those that were not made."""
        return self._conclusions.durations

    # --- one check

    def _due(self, watch: Watch[UpstreamT]) -> None:
        watch.timer = None
        self._waiting.append(watch)
        self._begin_what_fits()

    def _begin_what_fits(self) -> None:
        while self._waiting and self._room > 0:
            watch = self._waiting.popleft()
            if watch.removed:
                continue
            shortest = SHORTEST_FIRST_PERIOD if watch.last is None else SHORTEST_PERIOD
            period = watch.settings.interval * self._random.uniform(shortest, 1.0)
            watch.next_ns = self._clock.monotonic_ns() + round(period * 1e9)
            if watch.upstream.address:
                self._begin(watch)
            else:
                self._first.discard(watch)
                self._arm_next(watch)

    def _begin(self, watch: Watch[UpstreamT]) -> None:
        self._room -= 1
        where = watch.present_address()
        if where != watch.where:
            watch.where = where
            watch.verdict.restart()
        watch.served = None
        watch.expired = False
        watch.started_ns = self._clock.monotonic_ns()
        watch.lag_ns = self._lag.total_ns()
        watch.timer = self._loop.call_later(QUICK * watch.settings.timeout, self._not_quick, watch)
        watch.task = task = self._loop.create_task(watch.probe.check(*where))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, watch))

    def _not_quick(self, watch: Watch[UpstreamT]) -> None:
        watch.served = self._doors.served(watch.upstream)
        end_ns = watch.started_ns + round(watch.settings.timeout * 1e9)
        watch.timer = self._loop.call_later(self._seconds_to(end_ns), self._deadline, watch)

    def _deadline(self, watch: Watch[UpstreamT]) -> None:
        watch.timer = None
        assert watch.task is not None, "the timer of a check outlives it"
        if not watch.task.done():
            watch.expired = True
            watch.task.cancel()

    def _ended(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        self._room += 1
        watch.task = None
        watch.disarm()
        self._first.discard(watch)
        if watch.removed:
            self._close_probe(watch)
        else:
            self._arm_next(watch)
        self._begin_what_fits()
        self._conclusions.draw(watch, task)

    def _arm_next(self, watch: Watch[UpstreamT]) -> None:
        watch.timer = self._loop.call_later(self._seconds_to(watch.next_ns), self._due, watch)

    def _seconds_to(self, when_ns: int) -> float:
        return max(0.0, (when_ns - self._clock.monotonic_ns()) / 1e9)

    def _close_probe(self, watch: Watch[UpstreamT]) -> None:
        task = self._loop.create_task(watch.probe.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
