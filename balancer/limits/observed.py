"""One upstream as its pool's adaptive limits see it: what looks add up, its samples, and its limit.

Off the request path. A look reads a few numbers of an upstream with requests in flight, often. A sample reads
all of its counters, and its limit is judged by it.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from typing import Final

from balancer.limits.concurrency_limit import ConcurrencyLimit
from balancer.limits.window import Sample
from balancer.telemetry.columns import (
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_LEFT,
    UPSTREAM_STREAMING,
)
from balancer.upstreams.upstream import Upstream

# The cells that a sample reads are adjacent in a row; the histogram comes last.
_FIRST: Final = UPSTREAM_FIRST_BYTE_SUM
_LEFT: Final = UPSTREAM_LEFT - _FIRST
_FIRST_BYTE: Final = UPSTREAM_FIRST_BYTE - _FIRST
# After a longer time without traffic its limit is told that it rested, before the next sample.
_RESTED_NS: Final = 1_000_000_000
# The cost of a sample, in rows of other workers read: their cells are only added up.
_OWN_ROWS: Final = 4


class ObservedUpstream:
    """`awaiting` requests of all workers await their first byte there, as of the last look. `afresh`: what
    was seen before its next sample does not count. `turn` is the look that last sampled it. `others` are the
    cells of its row in other workers' pages, as far as they are read."""

    __slots__ = ("_answered_elsewhere", "_full", "_last", "_quiet_ns", "_sampled_ns", "_waited", "afresh",
                 "awaiting", "host", "limit", "others", "turn", "upstream")  # fmt: skip

    def __init__(self, upstream: Upstream, limit: ConcurrencyLimit) -> None:
        self.upstream = upstream
        self.host = upstream.host
        self.limit = limit
        self.awaiting = 0
        self.afresh = True
        self.turn = -1
        self.others: Sequence[memoryview[int]] = ()
        self._answered_elsewhere = 0
        self._waited = 0.0  # requests times seconds
        self._full = 0  # looks that found it at its limit
        self._last: Sample | None = None
        self._sampled_ns = 0
        self._quiet_ns = 0  # when nothing had happened since the last sample

    def rows(self) -> int:
        """The cost of a sample."""
        return _OWN_ROWS + len(self.others)

    def is_busy(self, requests: int) -> bool:
        """Whether it has a limit, or `requests` await their first byte."""
        return self.awaiting >= requests or self.upstream.concurrency_limit > 0

    def look(self, seconds: float, waited_for: bool) -> None:
        """`seconds` have passed since the pool's previous look. `waited_for`: requests wait for a slot."""
        upstream = self.upstream
        mine = awaiting = upstream.inflight - upstream.streaming
        for cells in self.others:
            awaiting += cells[UPSTREAM_INFLIGHT] - cells[UPSTREAM_STREAMING]
        if awaiting < 0:  # other workers write meanwhile: one count may be slightly older than the other
            awaiting = 0
        self._waited += (awaiting + self.awaiting) / 2 * seconds
        self.awaiting = awaiting
        if 0 < upstream.concurrency_limit <= mine and (waited_for or upstream.turned_away):
            self._full += 1
        upstream.turned_away = False

    def is_quiet(self, now_ns: int) -> bool:
        """Whether there is nothing to learn from a sample: no requests now, and none since the last one."""
        upstream = self.upstream
        last = self._last
        if (
            self.afresh
            or last is None
            or self.awaiting
            or last.awaiting
            or upstream.concurrency_limit
            or upstream.answered_ns >= self._sampled_ns
            or (self.others and self._answers_elsewhere() != self._answered_elsewhere)
        ):
            return False
        self._quiet_ns = now_ns
        return True

    def judge(self, now_ns: int, look: int) -> Sample:
        """Take a sample, in the pool's look of this number, and let its limit judge by it."""
        sample = self._sample(now_ns / 1e9, look)
        limit = self.limit
        last = self._last
        if self.afresh:
            limit.begin_anew(sample)
            self.afresh = False
        else:
            if last is not None and self._quiet_ns - self._sampled_ns > _RESTED_NS:
                limit.observe(last._replace(now=self._quiet_ns / 1e9))
            limit.observe(sample)
        self._last = sample
        self._sampled_ns = now_ns
        self.turn = look
        return sample

    def apply(self) -> bool:
        """Give the upstream its limit; returns whether it has changed."""
        upstream = self.upstream
        limit = self.limit.limit
        if upstream.concurrency_limit == limit:
            return False
        upstream.concurrency_limit = limit
        return True

    def is_at_limit(self) -> bool:
        """Whether it has as many requests of this worker as its limit allows."""
        return 0 < self.limit.limit <= self.upstream.inflight - self.upstream.streaming

    def is_limited_elsewhere(self) -> bool:
        """Whether another worker has found a limit for it."""
        if self.upstream.max_inflight:
            return False
        return any(cells[UPSTREAM_INFLIGHT_LIMIT] for cells in self.others)

    def _answers_elsewhere(self) -> int:
        return sum([cells[UPSTREAM_FIRST_BYTE_SUM] for cells in self.others], 0)

    def _sample(self, now: float, looks: int) -> Sample:
        upstream = self.upstream
        upstream.counters.flush()
        edges = upstream.counters.edges
        sampled = slice(_FIRST, UPSTREAM_FIRST_BYTE + edges.width)
        counts = upstream.cells[sampled].tolist()
        answers = counts[_FIRST_BYTE:]
        given = total = sum(answers, 0)
        answered_ns = counts[0]
        left = counts[_LEFT]
        if self.others:
            self._answered_elsewhere = 0
            for cells in self.others:
                more = cells[sampled].tolist()
                if more[0] or more[_LEFT]:
                    theirs = more[_FIRST_BYTE:]
                    answers = [count + other for count, other in zip(answers, theirs, strict=True)]
                    answered_ns += more[0]
                    left += more[_LEFT]
                    self._answered_elsewhere += more[0]
            total = sum(answers, 0)
        return Sample(
            now=now,
            mine=upstream.inflight - upstream.streaming,
            given=given,
            awaiting=self.awaiting,
            answers=answers,
            total=total,
            answered_ns=answered_ns,
            left=left,
            waited=self._waited,
            looks=looks,
            full=self._full,
            edges=edges,
        )
