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
_NOWHERE = ("", 0)  # where the first check has yet to go


class Watch(Generic[UpstreamT]):
    """One upstream under checks."""

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
        # Live responses when the last check timed out, where that counted and nothing has since.
        self.served_at_timeout: int | None = None
        self.silence = Silence()
        self.was_busy = False  # there were live requests in flight then
        self.counts: Counter[str] = Counter()
        self.last: CheckResult | None = None
        self.passed_at: tuple[str, int] | None = None  # where it was when it last passed
        self.removed = False
        self.asks: Callable[[CheckResult], None] | None = None  # who is to hear of the next result
        self.next_ns = 0  # when its next check is due: 0 at once, NEVER while it waits for its turn
        # --- of the running check, or the last one
        self.task: asyncio.Task[Reply] | None = None
        self.where = _NOWHERE
        self.asked_ns = 0
        self.started_ns = 0  # the same, or since when it stands in for the next one
        self.stands_in = False
        self.deadline_ns = NEVER  # when to look at it
        self.lag_ns = 0  # our own lag when it started
        self.served: int | None = None  # live responses when it turned out not to be a quick one
        self.reading: Reading | None = None  # of all live responses, at the same moment
        self.overstays = (
            False  # it has taken too long, and runs on until the next one: it may yet be answered
        )

    def is_idle(self) -> bool:
        """Whether the next check may begin when it is due: none runs, or one that has had its time."""
        return self.task is None or self.overstays

    def may_be_taken_back(self) -> bool:
        """Whether its check may yet show that its timeout was none: requests were there to wait behind."""
        return self.served_at_timeout is not None and self.was_busy

    def moves(self, where: tuple[str, int]) -> None:
        """Its checks go there from now on; what they have shown so far was of another machine."""
        if self.where != _NOWHERE:
            self.verdict = Verdict(self.settings.rise, self.settings.fall)
            self.draining = False
        self.where = where
        self.served_at_timeout = None
        self.silence.end()

    def present_address(self) -> tuple[str, int]:
        """Where its next check goes."""
        return (self.upstream.address, self.settings.port or self.upstream.port)
