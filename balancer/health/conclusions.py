"""What a check that has ended says about its upstream, and through which doors that goes (L4)."""

import asyncio
import logging
from typing import Generic

from balancer.clock import Clock
from balancer.health.beat import Beat
from balancer.health.doors import Doors, UpstreamT
from balancer.health.durations import Durations
from balancer.health.hints import hint
from balancer.health.result import TIME_PLAYED_A_PART, CheckResult, Reply, Result
from balancer.health.verdict import Flip
from balancer.health.watch import Watch

# A check without a response counts for nothing where our loop was late, in sum, by more than this share of
# TIMEOUT while it ran.
LATE = 0.25

log = logging.getLogger(__name__)


class Conclusions(Generic[UpstreamT]):
    """Draws the conclusions from checks that have ended."""

    def __init__(self, clock: Clock, beat: Beat, doors: Doors[UpstreamT]) -> None:
        self._clock = clock
        self._beat = beat
        self._doors = doors
        self.durations: dict[str, Durations] = {}  # by pool

    def draw(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply]) -> None:
        """The check that was `task` has ended."""
        reply = self._reply_of(watch, task)
        # An answer from where it no longer is says nothing.
        if reply is None or watch.removed or watch.present_address() != watch.where:
            return
        seconds = (self._clock.monotonic_ns() - watch.started_ns) / 1e9
        last = self._record(watch, self._fair(watch, reply), seconds)
        self._go_through_doors(watch, last)

    def _reply_of(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply]) -> Reply | None:
        """None where it was cancelled before its deadline: removed, or moved."""
        if task.cancelled():
            if not watch.expired:
                return None
            return Reply(Result.TIMEOUT, 0, f"no whole response within {watch.settings.timeout:g}s")
        if (error := task.exception()) is not None:
            log.error("bug: checking the upstream %s failed", watch.upstream.id, exc_info=error)
            return Reply(Result.NOT_MADE, 0, f"no check could be made ({type(error).__name__})")
        return task.result()

    def _fair(self, watch: Watch[UpstreamT], reply: Reply) -> Reply:
        """The reply, or one that counts for nothing where it would blame the upstream without proof."""
        if reply.result not in TIME_PLAYED_A_PART:
            return reply
        if self._beat.lag_ns() - watch.lag_ns > LATE * watch.settings.timeout * 1e9:
            return Reply(Result.LATE, 0, reply.detail)
        if reply.result is Result.TIMEOUT and self._serves(watch):
            return Reply(Result.SLOW, 0, reply.detail)
        return reply

    def _serves(self, watch: Watch[UpstreamT]) -> bool:
        """Whether live requests on this upstream have succeeded while the check waited."""
        return watch.served is not None and self._doors.served(watch.upstream) > watch.served

    def _record(self, watch: Watch[UpstreamT], reply: Reply, seconds: float) -> CheckResult:
        watch.counts[reply.result.value] += 1
        if reply.result is not Result.NOT_MADE:
            self.durations[watch.upstream.pool].record(seconds)
        watch.last = last = CheckResult(
            time=self._clock.wall(),
            passed=reply.result is Result.PASSED,
            result=reply.result,
            status=reply.status,
            seconds=seconds,
            detail=reply.detail,
            hint=hint(reply, watch.settings),
        )
        return last

    def _go_through_doors(self, watch: Watch[UpstreamT], last: CheckResult) -> None:
        was_unchecked = watch.verdict.unchecked
        flip = watch.verdict.observe(last.result)
        on = watch.settings.announces_drain(last.status)
        changes_drain = last.passed and watch.draining is not on
        if changes_drain:
            watch.draining = on
        # The watch is as it should be before any door is opened: a door may remove the upstream.
        if was_unchecked and not watch.verdict.unchecked:
            self._doors.checked(watch.upstream)
        if changes_drain:
            self._doors.draining(watch.upstream, on, last.detail)
        if flip is Flip.FAILING:
            self._doors.failing(watch.upstream, f"{_checks(watch.settings.fall)} failed; {last.hint}")
        elif flip is Flip.PASSING:
            self._doors.passing(watch.upstream, f"{_checks(watch.settings.rise)} passed; {last.detail}")


def _checks(times: int) -> str:
    return "a check has" if times == 1 else f"{times} checks in a row have"
