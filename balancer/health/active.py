"""Active checks (L5): when each upstream is checked.

One for the whole instance, in the supervisor: callbacks and short decisions on its event loop. A check itself
is the probe's, one task while it runs; what its result means is said in `conclusions`.

There is no timer per upstream: what is due by the next beat is begun at this one, and deadlines are looked at
then too. Checks that start together have their responses together, and a loop that is woken 20 times a second
instead of 1,000 times needs less CPU (1,000 upstreams at 2 s: 3.4 % of a core).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Generic

from balancer.clock import Clock
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

# Checks running at a time, of all pools; more wait in order. Those that have timed out do not count. 1,000
# upstreams that are checked every 2 s, and all hang for a TIMEOUT of 1 s, are 500 at a time.
AT_ONCE = 512
# A period, from start to start, is drawn between this share of INTERVAL and INTERVAL, and begins up to a beat
# early, never late: checks do not fall into step, and FALL failures are in within FALL x INTERVAL. The first
# period is drawn from nearly the whole of INTERVAL, which spreads what has started at once.
SHORTEST_PERIOD = 0.9
SHORTEST_FIRST_PERIOD = 0.1
# Live responses are read at the first beat after this share of TIMEOUT: hardly any check takes that long, and
# to read them is to add up a row of every worker.
QUICK = 0.1

_BEAT_NS = round(BEAT * 1e9)


class ActiveChecks(Generic[UpstreamT]):
    """Checks upstreams from `start` to `close`: all at once at first, then each at its own times.

    Never more than one check of an upstream at a time. An upstream that is added later is checked at once; of
    a removed one nothing is heard any more. A deadline is kept to within a beat.
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
        self._first: set[Watch[UpstreamT]] = set()  # there at start, with an address, and not checked yet
        self._tasks: set[asyncio.Task[Reply] | asyncio.Task[None]] = set()
        self._started = False

    # --- whom to check

    def start(self) -> None:
        """Begin: the first checks of all upstreams that are there, at once."""
        self._started = True
        self._beat.start()
        self._first.update(watch for watch in self._watches.values() if watch.upstream.address)
        self._due(list(self._watches.values()))

    def add(self, upstream: UpstreamT, settings: CheckSpec, *, draining: bool = False) -> None:
        """Check this upstream from now on; the first time at once.

        `draining` says what its app has announced, if it was removed for a while.
        """
        probe = self._open_probe(upstream.id, settings)
        watch = Watch(upstream, settings, probe, draining)
        self._watches[upstream.pool, upstream.id] = watch
        self._conclusions.durations.setdefault(upstream.pool, Durations())
        if self._started:
            self._due([watch])

    def remove(self, upstream: UpstreamT) -> None:
        """Check it no more: a check that runs is cancelled, its connection closed, its counts forgotten."""
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
        """Its address has changed: check it at once. Without this call the next check notices."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None or not self._started or watch.next_ns == NEVER:
            return  # it has not begun, or waits for its turn
        if not self._ends_first(watch):  # what it would bring says nothing about the new address
            self._due([watch])

    def check_now(self, upstream: UpstreamT, asks: Callable[[CheckResult], None]) -> None:
        """Check it at the next beat, and tell `asks` what comes of it; where a check runs, of that one.

        Nothing is told where it is not checked, and of several who ask at once only the last is told."""
        watch = self._watches.get((upstream.pool, upstream.id))
        if watch is None or not self._started:
            return
        watch.asks = asks
        if watch.is_idle() and watch.next_ns != NEVER:
            watch.next_ns = self._clock.monotonic_ns()

    async def close(self) -> None:
        """Check no more, and wait until every connection is closed."""
        self._beat.stop()
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

    def _look(self) -> None:
        """The beat: end what has taken too long, begin what is due before the next one."""
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
        """It is not a quick one; or it has taken too long altogether."""
        if watch.served is None:
            self._read_live(watch, now)
            watch.deadline_ns = self._ends_ns(watch)
        elif (ends_ns := self._ends_ns(watch)) > now:
            watch.deadline_ns = ends_ns  # a response may be here already, and nobody has looked
        elif watch.task is not None and not watch.task.done():
            watch.overstays = True
            self._ended_its_time(watch)
            self._conclusions.time_out(watch)

    def _read_live(self, watch: Watch[UpstreamT], now: int) -> None:
        watch.served = self._sink.served(watch.upstream)
        watch.reading = Reading(now, self._sink.answers(watch.upstream))

    def _ends_ns(self, watch: Watch[UpstreamT]) -> int:
        """When it has had its time: as long as we were late nobody looked, and to look takes a turn."""
        timeout_ns = round(watch.settings.timeout * 1e9)
        lag_ns = self._beat.lag_ns() - watch.lag_ns
        late_ns = lag_ns + _BEAT_NS if lag_ns > _BEAT_NS else 0
        return watch.started_ns + min(timeout_ns + late_ns, MOST_TIMEOUTS * timeout_ns)

    def _ended_its_time(self, watch: Watch[UpstreamT]) -> None:
        watch.deadline_ns = NEVER
        self._room += 1
        self._first.discard(watch)

    def _stands_in(self, watch: Watch[UpstreamT]) -> bool:
        """Whether the check before stands in for the one that is due: it waits behind live requests and keeps
        its position in their backlog, as a new one would begin at the end of it. It can time out once
        more."""
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
        """Whether the check before still waits for its answer: it ends, and then the next one begins."""
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
        finally:  # a sink that raises must not end the checks
            if watch.next_ns == 0 and not watch.removed:
                self._due([watch])  # it has moved
            else:
                self._begin_what_fits()

    def _close_probe(self, watch: Watch[UpstreamT]) -> None:
        task = self._loop.create_task(watch.probe.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
