"""Published concurrency limits, played in place of the product's.

Written anew from what their sources of 2026 do: Netflix's concurrency-limits (`Gradient2Limit` in a
`WindowedLimit`, `VegasLimit`) and Envoy's adaptive concurrency filter (`gradient_controller.cc`). They have
their default settings, except for Gradient2's highest limit, which is that of the others: its own 200 would
refuse much of an async app's traffic.
"""

from collections.abc import Callable, Sequence
from math import ceil, log10, sqrt
from random import Random
from typing import Protocol, TypeAlias

from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.limits.concurrency_limit import ConcurrencyBounds
from balancer.upstreams.upstream import Upstream
from tests.sim.engine import Engine
from tests.sim.figures import percentile

_MOST = 1000
_BEAT = 0.1  # seconds; what Envoy's documentation sets as `concurrency_update_interval`


class Limit(Protocol):
    """The limit of one upstream. Times in seconds; `limit` is at least 1."""

    limit: int

    def ended(self, now: float, took: float, inflight: int, dropped: bool) -> None:
        """A request has ended after this time; when it was sent this many were in flight, including itself.
        `dropped`: its client had left."""

    def beat(self, now: float) -> None:
        """A tenth of a second has passed."""


class Gradient2:
    """Netflix's Gradient2: the mean latency of a second, compared with a long-run mean of some ten minutes.

    More than one and a half times the long-run mean lowers the limit, at most by a tenth a second; otherwise
    four slots are added, of which a fifth counts. So a wait that lasts becomes the usual one.
    """

    least = 20
    _QUEUE, _SMOOTHING, _TOLERANCE = 4, 0.2, 1.5
    _WARM, _LONG = 10, 600  # windows
    _SECONDS, _SAMPLES, _SHORTEST = 1.0, 10, 0.0001

    def __init__(self, random: Random) -> None:
        self.limit = self.least
        self.long_run = 0.0  # seconds
        self._exact = float(self.least)
        self._windows = 0
        self._until = 0.0
        self._count = self._inflight = 0
        self._sum = 0.0

    def ended(self, now: float, took: float, inflight: int, dropped: bool) -> None:
        if took < self._SHORTEST:
            return
        self._count += 1
        self._sum += took
        self._inflight = max(self._inflight, inflight)
        if now > self._until:
            self._until = now + self._SECONDS
            if self._count >= self._SAMPLES:
                self.window(self._sum / self._count, self._inflight)
            self._count = self._inflight = 0
            self._sum = 0.0

    def window(self, mean: float, inflight: int) -> None:
        """A window has ended: its mean latency, and the most requests in flight."""
        self._windows += 1
        factor = 1 / self._windows if self._windows <= self._WARM else 2 / (self._LONG + 1)
        self.long_run = long_run = self.long_run * (1 - factor) + mean * factor
        if long_run > 2 * mean:
            self.long_run *= 0.95
        if inflight < self._exact / 2:
            return
        gradient = max(0.5, min(1.0, self._TOLERANCE * long_run / mean))
        goal = self._exact * gradient + self._QUEUE
        exact = self._exact * (1 - self._SMOOTHING) + goal * self._SMOOTHING
        self._exact = max(self.least, min(_MOST, exact))
        self.limit = int(self._exact)

    def beat(self, now: float) -> None:
        pass


class Vegas:
    """Netflix's Vegas, the default of its limiters: the latency above the least latency shows which part of
    the limit stands in a backlog.

    After 15 to 30 answers for each slot the least latency is that of the next answer, whatever it is. A
    dropped request lowers the limit.
    """

    _PROBES = 30  # limits

    def __init__(self, random: Random) -> None:
        self.limit = 20
        self.least_time = 0.0  # seconds
        self._random = random
        self._answers = 0
        self._jitter = random.uniform(0.5, 1.0)

    def ended(self, now: float, took: float, inflight: int, dropped: bool) -> None:
        limit = self.limit
        self._answers += 1
        if self._answers >= self._jitter * self._PROBES * limit:
            self._jitter = self._random.uniform(0.5, 1.0)
            self._answers = 0
            self.least_time = took
        elif not self.least_time or took < self.least_time:
            self.least_time = took
        else:
            self.limit = max(1, min(_MOST, self._next(took, inflight, dropped)))

    def _next(self, took: float, inflight: int, dropped: bool) -> int:
        limit = self.limit
        step = max(1, int(log10(limit)))
        queue = ceil(limit * (1 - self.least_time / took))
        if dropped:
            return limit - step
        if inflight * 2 < limit:
            return limit
        if queue <= step:
            return limit + 6 * step
        if queue < 3 * step:
            return limit + step
        return limit - step if queue > 6 * step else limit

    def beat(self, now: float) -> None:
        pass


class EnvoyGradient:
    """Envoy's gradient controller: a percentile of each tenth of a second, compared with the last one
    measured with few in flight plus a quarter.

    It measures at the start, some 60 s after each measurement, and when the limit has been at its minimum six
    times in a row: for 50 requests. Meanwhile the limit is `pinned`, or unchanged if that is 0. A dropped
    request is no sample. The limit also grows while it is not reached.
    """

    _INTERVAL, _JITTER, _REQUESTS, _BUFFER = 60.0, 0.15, 50, 0.25

    def __init__(self, random: Random, *, share: float = 0.5, least: int = 3, pinned: int = 3) -> None:
        self.limit = least
        self.floor = 0.0  # the measured latency in seconds
        self._random = random
        self._share = share
        self._least = least
        self._pinned = pinned
        self._samples: list[float] = []
        self._measures = False
        self._measures_at = float("inf")
        self._since = 0.0  # a request sent before the measurement began is no sample
        self._before = 0
        self._at_least = 0  # times in a row
        self._measure(0.0)

    def ended(self, now: float, took: float, inflight: int, dropped: bool) -> None:
        if dropped or now - took < self._since:
            return
        self._samples.append(took)
        if self._measures and len(self._samples) >= self._REQUESTS:
            self.floor = self._summarize()
            if self._pinned:
                self._set(self._before)
            self._measures = False
            self._measures_at = now + self._INTERVAL * (1 + self._JITTER * self._random.random())

    def beat(self, now: float) -> None:
        if now >= self._measures_at:
            self._measure(now)
        if self._measures or not self._samples:
            return
        gradient = max(0.5, min(2.0, self.floor * (1 + self._BUFFER) / self._summarize()))
        limit = self.limit * gradient
        self._set(max(self._least, min(_MOST, int(limit + sqrt(limit)))))
        if self._at_least >= 5:
            self._measure(now)

    def _measure(self, now: float) -> None:
        self._measures = True
        self._measures_at = float("inf")
        self._before = self.limit
        if self._pinned:
            self._set(self._pinned)
        self._samples.clear()
        self._since = now

    def _set(self, limit: int) -> None:
        again = not self._measures and limit == self.limit == self._least
        self._at_least = self._at_least + 1 if again else 0
        self.limit = limit

    def _summarize(self) -> float:
        at = percentile(sorted(self._samples), self._share)
        self._samples.clear()
        return at


def envoys_example(random: Random) -> EnvoyGradient:
    """As in the example of the filter's documentation: measuring does not lower the limit."""
    return EnvoyGradient(random, share=0.9, least=25, pinned=0)


MakeLimit: TypeAlias = Callable[[Random], Limit]


class PublishedLimits(AdaptiveLimits):
    """One limit for each candidate, as if each replica had its own filter in front of it."""

    __slots__ = ("_engine", "_limit_of", "_make", "_random")

    def __init__(self, make: MakeLimit, engine: Engine, random: Random) -> None:
        super().__init__(ConcurrencyBounds(1, _MOST), loop=engine, clock=engine, rows=lambda row: [])
        self._make = make
        self._engine = engine
        self._random = random
        self._limit_of: dict[Upstream, Limit] = {}
        engine.after(_BEAT, self._pass)

    def rebuild(self, upstreams: Sequence[Upstream], candidates: Sequence[Upstream]) -> None:
        before = self._limit_of
        self._limit_of = {one: before.get(one) or self._make(self._random) for one in candidates}
        for one in upstreams:
            one.concurrency_limit = self._limit_of[one].limit if one in self._limit_of else 0

    def sweep(self) -> None:
        """Unused: it has beats of its own."""

    def ended(self, upstream: Upstream, sent: float, inflight: int, dropped: bool) -> None:
        """A request sent at that time, as the `inflight`th there, has ended."""
        limit = self._limit_of.get(upstream)
        if limit is not None:
            now = self._engine.time()
            limit.ended(now, now - sent, inflight, dropped)
            self._apply()

    def _pass(self) -> None:
        for limit in self._limit_of.values():
            limit.beat(self._engine.time())
        self._apply()
        self._engine.after(_BEAT, self._pass)

    def _apply(self) -> None:
        changed = []
        for one, limit in self._limit_of.items():
            if one.concurrency_limit != limit.limit:
                one.concurrency_limit = limit.limit
                changed.append(one)
        if changed:
            self.changed(changed)
