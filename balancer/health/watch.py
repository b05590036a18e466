"""What active checks keep about one upstream (L4)."""

import asyncio
from collections import Counter
from typing import Generic

from balancer.health.doors import UpstreamT
from balancer.health.probe import Probe
from balancer.health.result import CheckResult, Reply
from balancer.health.settings import CheckSettings
from balancer.health.verdict import Verdict


class Watch(Generic[UpstreamT]):
    """One upstream under checks."""

    __slots__ = ("counts", "draining", "expired", "lag_ns", "last", "next_ns", "probe", "removed", "served",
                 "settings", "started_ns", "task", "timer", "upstream", "verdict", "where")  # fmt: skip

    def __init__(
        self, upstream: UpstreamT, settings: CheckSettings, probe: Probe, failing: bool, draining: bool
    ) -> None:
        self.upstream = upstream
        self.settings = settings
        self.probe = probe
        self.verdict = Verdict(settings.rise, settings.fall, failing)
        self.draining = draining  # its last passed check announced it
        self.counts: Counter[str] = Counter()
        self.last: CheckResult | None = None
        self.removed = False
        # The one timer: of the next check, or of the running one's deadline.
        self.timer: asyncio.TimerHandle | None = None
        self.next_ns = 0  # when the next check is due
        # --- of the running check, or the last one
        self.task: asyncio.Task[Reply] | None = None
        self.where: tuple[str, int] = ("", 0)
        self.started_ns = 0
        self.lag_ns = 0  # the loop's lag when it started
        self.served: int | None = None  # live responses when it turned out not to be a quick one
        self.expired = False  # we have cancelled it, at its deadline

    def present_address(self) -> tuple[str, int]:
        """Where its next check goes."""
        return (self.upstream.address, self.settings.port or self.upstream.port)

    def disarm(self) -> None:
        """No timer of it fires any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
