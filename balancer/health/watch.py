"""What active checks keep about one upstream (L5)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Generic

from balancer.health.check_sink import UpstreamT
from balancer.health.probe import Probe
from balancer.health.result import CheckResult, Reply
from balancer.health.silence import Reading, Silence
from balancer.health.verdict import Verdict
from balancer.spec.instance import CheckSpec

NEVER = 1 << 63  # nanoseconds
_NOWHERE = ("", 0)  # before the first check


class Watch(Generic[UpstreamT]):
    """One upstream that is checked."""

    __slots__ = ("asked_ns", "asks", "counts", "deadline_ns", "draining", "lag_ns", "last", "next_ns",
                 "overstays", "passed_at", "probe", "reading", "removed", "served", "served_at_timeout",
                 "settings", "silence", "stands_in", "started_ns", "task", "upstream", "verdict", "was_busy",
                 "where")  # fmt: skip

    def __init__(self, upstream: UpstreamT, settings: CheckSpec, probe: Probe, draining: bool) -> None:
        self.upstream = upstream
        self.settings = settings
        self.probe = probe
        self.verdict = Verdict(settings.rise, settings.fall)
        self.draining = draining  # its last passed check announced it
        # Live responses at the last check's timeout, if that counted and no result has counted since.
        self.served_at_timeout: int | None = None
        self.silence = Silence()
        self.was_busy = False  # live requests were in flight then
        self.counts: Counter[str] = Counter()
        self.last: CheckResult | None = None
        self.passed_at: tuple[str, int] | None = None  # where it was when it last passed
        self.removed = False
        self.asks: Callable[[CheckResult], None] | None = None  # to be called with the next result
        self.next_ns = 0  # when its next check is due: 0 at once, NEVER while it waits for its turn
        # --- of the running check, or the last one
        self.task: asyncio.Task[Reply] | None = None
        self.where = _NOWHERE
        self.asked_ns = 0
        self.started_ns = 0  # the same, or since when it replaces the next one
        self.stands_in = False  # it replaces the next one
        self.deadline_ns = NEVER  # when `_overdue` looks at it
        self.lag_ns = 0  # our own lag when it started
        self.served: int | None = None  # live responses below 500 when it had run for QUICK of TIMEOUT
        self.reading: Reading | None = None  # of all live responses, at the same moment
        self.overstays = False  # it has timed out, and runs on until the next one: it may still be answered

    def succeed(self, before: "Watch[UpstreamT]") -> None:
        """Take over what `before` has found about the same upstream."""
        self.verdict = before.verdict.by(self.settings.rise, self.settings.fall)
        self.counts, self.last, self.passed_at = before.counts, before.last, before.passed_at
        self.asks, self.where = before.asks, before.where

    def is_idle(self) -> bool:
        """Whether the next check may begin when due: none is running, or only one that has timed out."""
        return self.task is None or self.overstays

    def may_be_taken_back(self) -> bool:
        """Whether a late answer may revoke the timeout: the check may have waited behind live requests."""
        return self.served_at_timeout is not None and self.was_busy

    def moves(self, where: tuple[str, int]) -> None:
        """Check it at `where` from now on; the results so far are about another machine."""
        if self.where != _NOWHERE:
            self.verdict = Verdict(self.settings.rise, self.settings.fall)
            self.draining = False
        self.where = where
        self.served_at_timeout = None
        self.silence.end()

    def present_address(self) -> tuple[str, int]:
        """Where its next check goes."""
        return (self.upstream.address, self.settings.port or self.upstream.port)
