"""Active checks (L5): when each upstream is checked.

There is one object for the whole instance, in the supervisor: callbacks and short decisions on its event
loop. The probe makes the check, as one task; `conclusions` decides what its result means.

There is no timer per upstream: each beat begins what is due before the next one, and looks at deadlines. So
checks that start together are answered together, and a loop that wakes up 20 times a second instead of 1,000
times needs less CPU (1,000 upstreams at 2 s: 3.4 % of a core).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Generic

from balancer.clock import Clock
from balancer.edges import Edges
from balancer.health.beat import BEAT, Beat
from balancer.health.check_sink import CheckSink, UpstreamT
from balancer.health.conclusions import Conclusions
from balancer.health.durations import Durations
from balancer.health.probe import OpenProbe
from balancer.health.result import CheckResult, Reply
from balancer.health.settings import MOST_TIMEOUTS
from balancer.health.silence import Reading
from balancer.health.watch import NEVER, Watch
from balancer.spec.instance import CheckSpec

# Most checks running at a time, for all pools together; more wait in order. Checks that have timed out do not
# count. 1,000 upstreams checked every 2 s that all hang for a TIMEOUT of 1 s need 500 at a time.
AT_ONCE = 512
# A period, from start to start, is drawn between this share of INTERVAL and INTERVAL, and begins up to a beat
# early, never late: so checks do not synchronise, and FALL failures take at most FALL x INTERVAL. The first
# period is drawn from nearly the whole of INTERVAL, to spread checks that started at the same time.
SHORTEST_PERIOD = 0.9
SHORTEST_FIRST_PERIOD = 0.1
# Live responses are counted at the first beat after this share of TIMEOUT: few checks take that long, and a
# count sums a row over all workers.
QUICK = 0.1

_BEAT_NS = round(BEAT * 1e9)


class ActiveChecks(Generic[UpstreamT]):
    """Checks upstreams from `start` to `close`: all at once at first, then each at its own times.

    An upstream has at most one check at a time. An upstream added later is checked at once; for a removed one
    nothing is reported any more. Deadlines are precise to one beat.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        sink: CheckSink[UpstreamT],
        open_probe: OpenProbe,
        loop: asyncio.AbstractEventLoop,
        at_once: int = AT_ONCE,
    ) -> None:
        self._clock = clock
        self._random = random
        self._sink = sink
        self._open_probe = open_probe
        self._loop = loop
        self._room = at_once
        self._beat = Beat(clock, loop, self._look)
        self._conclusions = Conclusions(clock, self._beat, sink)
        self._watches: dict[tuple[str, str], Watch[UpstreamT]] = {}
        self._waiting: deque[Watch[UpstreamT]] = deque()
        self._first: set[Watch[UpstreamT]] = set()  # added before start, with an address, not checked yet
        self._tasks: set[asyncio.Task[Reply] | asyncio.Task[None]] = set()
        self._started = False

    # --- what to check

    def start(self) -> None:
        """Begin with the first checks of all present upstreams, at once."""
        self._started = True
        if self._watches:
            self._beat.start()
        self._first.update(watch for watch in self._watches.values() if watch.upstream.address)
        self._due(list(self._watches.values()))

    def add(self, upstream: UpstreamT, settings: CheckSpec, *, draining: bool = False) -> None:
        """Check this upstream from now on; the first time at once.

        `draining`: what its app had announced, if the upstream was removed for a while.
        """
        probe = self._open_probe(upstream, settings)
        watch = Watch(upstream, settings, probe, draining)
        self._watches[upstream.pool, upstream.id] = watch
        self._conclusions.durations.setdefault(upstream.pool, Durations())
        if self._started:
            self._beat.start()
            self._due([watch])

    def change(self, upstream: UpstreamT, settings: CheckSpec) -> None:
        """Check it in this way from now on; what was found so far stays. If it was not checked, begin."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None:
            self.add(upstream, settings)
            return
        self.remove(upstream)
        successor = Watch(upstream, settings, self._open_probe(upstream, settings), watch.draining)
        successor.succeed(watch)
        self._watches[upstream.pool, upstream.id] = successor
        if self._started:
            self._schedule_next(successor)

    def failing(self, upstream: UpstreamT) -> None:
        """It has failed its checks before this program looked at it: RISE passes are needed."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is not None:
            watch.verdict.failing = watch.verdict.has_passed = True

    def remove(self, upstream: UpstreamT) -> None:
        """Stop checking it: cancel a running check, close its connection, forget its counts."""
        watch = self._watches.pop((upstream.pool, upstream.id), None)
        if watch is None:
            return
        watch.removed = True
        self._first.discard(watch)
        if watch.task is None:
            self._close_probe(watch)
        else:
            watch.task.cancel()

    def moved(self, upstream: UpstreamT) -> None:
        """Its address has changed: check it at once. Without this call the next check notices the change."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None or not self._started or watch.next_ns == NEVER:
            return  # not started, or waiting for its turn
        if not self._ends_first(watch):  # the result of a running check would be about the old address
            self._due([watch])

    def check_now(self, upstream: UpstreamT, asks: Callable[[CheckResult], None]) -> None:
        """Check it at the next beat, and call `asks` with the result; if a check is running, with that one's.

        `asks` is not called if the upstream is not checked. If there are several calls before the result,
        only the last `asks` gets it."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None or not self._started:
            return
        watch.asks = asks
        if watch.is_idle() and watch.next_ns != NEVER:
            watch.next_ns = self._clock.monotonic_ns()

    async def close(self) -> None:
        """Stop all checks, and wait until every connection is closed."""
        self._beat.stop()
        for watch in list(self._watches.values()):
            self.remove(watch.upstream)
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # for their callbacks, which may close a probe

    # --- what is known

    @property
    def first_round_done(self) -> bool:
        """Whether every upstream that was present at start, and had an address, has been checked once.

        A result that does not count is enough: readiness must not wait for a slow upstream.
        """
        return self._started and not self._first

    def last(self, upstream: UpstreamT) -> CheckResult | None:
        """Its last check; None before the first one, or if it is not checked."""
        watch = self._watches.get((upstream.pool, upstream.id))
        return watch.last if watch is not None else None

    def counts(self, upstream: UpstreamT) -> Mapping[str, int]:
        """The number of its checks by result; results that have not occurred are left out."""
        watch = self._watches.get((upstream.pool, upstream.id))
        return watch.counts if watch is not None else {}

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long checks took, by pool; checks that were not made are left out."""
        return self._conclusions.durations

    def count_over(self, edges: Edges) -> None:
        """The bounds of `durations` are these from now on."""
        self._conclusions.edges = edges

    # --- one check

    def _look(self) -> None:
        """The beat: end checks that take too long, begin those due before the next beat."""
        now = self._clock.monotonic_ns()
        for watch in [one for one in self._watches.values() if one.deadline_ns <= now]:
            self._overdue(watch, now)
        due = [one for one in self._watches.values() if one.is_idle() and one.next_ns < now + _BEAT_NS]
        self._due([one for one in due if not self._stands_in(one) and not self._ends_first(one)])

    def _due(self, watches: list[Watch[UpstreamT]]) -> None:
        for watch in watches:
            watch.next_ns = NEVER
        self._waiting.extend(watches)
        self._begin_what_fits()

    def _begin_what_fits(self) -> None:
        while self._waiting and self._room > 0:
            watch = self._waiting.popleft()
            if watch.removed:
                continue
            self._schedule_next(watch)
            if watch.upstream.address:
                self._begin(watch)
            else:
                self._first.discard(watch)

    def _schedule_next(self, watch: Watch[UpstreamT]) -> None:
        shortest = SHORTEST_FIRST_PERIOD if watch.last is None else SHORTEST_PERIOD
        period = watch.settings.interval * self._random.uniform(shortest, 1.0)
        watch.next_ns = self._clock.monotonic_ns() + round(period * 1e9)

    def _begin(self, watch: Watch[UpstreamT]) -> None:
        self._room -= 1
        where = watch.present_address()
        if where != watch.where:
            watch.moves(where)
        watch.served = watch.reading = None
        watch.stands_in = False
        watch.asked_ns = watch.started_ns = self._clock.monotonic_ns()
        watch.deadline_ns = watch.started_ns + round(QUICK * watch.settings.timeout * 1e9)
        watch.lag_ns = self._beat.lag_ns()
        watch.task = task = self._loop.create_task(watch.probe.check(*where))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, watch))

    def _overdue(self, watch: Watch[UpstreamT], now: int) -> None:
        """The check has run for QUICK of its timeout, or for all of it."""
        if watch.served is None:
            self._read_live(watch, now)
            watch.deadline_ns = self._ends_ns(watch)
        elif (ends_ns := self._ends_ns(watch)) > now:
            watch.deadline_ns = ends_ns  # we were late: a response may have arrived that is not read yet
        elif watch.task is not None and not watch.task.done():
            watch.overstays = True
            self._ended_its_time(watch)
            self._conclusions.time_out(watch)

    def _read_live(self, watch: Watch[UpstreamT], now: int) -> None:
        watch.served = self._sink.served(watch.upstream)
        watch.reading = Reading(now, self._sink.answers(watch.upstream))

    def _ends_ns(self, watch: Watch[UpstreamT]) -> int:
        """When its timeout is over. Time that we were late is added, and one beat in which to read it."""
        timeout_ns = round(watch.settings.timeout * 1e9)
        lag_ns = self._beat.lag_ns() - watch.lag_ns
        late_ns = lag_ns + _BEAT_NS if lag_ns > _BEAT_NS else 0
        return watch.started_ns + min(timeout_ns + late_ns, MOST_TIMEOUTS * timeout_ns)

    def _ended_its_time(self, watch: Watch[UpstreamT]) -> None:
        watch.deadline_ns = NEVER
        self._room += 1
        self._first.discard(watch)

    def _stands_in(self, watch: Watch[UpstreamT]) -> bool:
        """Whether the previous check replaces the one that is due: it waits behind live requests and keeps
        its position in the backlog, while a new one would start at its end. It can time out once more."""
        if not watch.overstays or not watch.may_be_taken_back() or watch.verdict.failing or self._room <= 0:
            return False
        self._room -= 1
        self._schedule_next(watch)
        watch.overstays = False
        watch.stands_in = True
        watch.started_ns = self._clock.monotonic_ns()
        watch.lag_ns = self._beat.lag_ns()
        self._read_live(watch, watch.started_ns)
        watch.deadline_ns = self._ends_ns(watch)
        return True

    def _ends_first(self, watch: Watch[UpstreamT]) -> bool:
        """Whether the previous check is still running: then cancel it, and the next one begins after that."""
        if watch.task is None:
            return False
        watch.next_ns = 0
        watch.task.cancel()
        return True

    def _ended(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        watch.task = None
        overstayed, watch.overstays = watch.overstays, False
        if not overstayed:
            self._ended_its_time(watch)
        if watch.removed:
            self._close_probe(watch)
        try:
            self._conclusions.draw(watch, task, overstayed)
        finally:  # an exception in the sink must not end the checks
            if watch.next_ns == 0 and not watch.removed:
                self._due([watch])  # `_ends_first` has cancelled the one before
            else:
                self._begin_what_fits()

    def _close_probe(self, watch: Watch[UpstreamT]) -> None:
        task = self._loop.create_task(watch.probe.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
