"""What the result of a check means for its upstream, and what is done about it (L5)."""

import asyncio
import logging
from typing import Generic

from balancer.clock import Clock
from balancer.edges import STANDARD
from balancer.health.beat import Beat
from balancer.health.check_sink import CheckSink, UpstreamT
from balancer.health.durations import Durations
from balancer.health.hints import Asked, hint
from balancer.health.result import NO_ANSWER, TIME_PLAYED_A_PART, CheckResult, Reply, Result
from balancer.health.silence import SAYS_NOTHING, Reading
from balancer.health.verdict import Flip
from balancer.health.watch import Watch

# Results that our own late event loop may have caused do not count: a closed connection, if the loop was late
# by more than this share of TIMEOUT in sum during the check; a timeout, if the time in which the loop could
# have seen a response was shorter than TIMEOUT by more than this share.
LATE = 0.25

log = logging.getLogger(__name__)


class Conclusions(Generic[UpstreamT]):
    """Draws the conclusions from checks that have ended."""

    def __init__(self, clock: Clock, beat: Beat, sink: CheckSink[UpstreamT]) -> None:
        self._clock = clock
        self._beat = beat
        self._sink = sink
        self.durations: dict[str, Durations] = {}  # by pool
        self.edges = STANDARD  # of these
        self._well_ns: dict[str, int] = {}  # by pool: start of the last check that showed a working upstream

    def draw(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply], overstayed: bool) -> None:
        """The check that was `task` has ended; `overstayed`: after it had timed out."""
        reply = self._reply_of(watch, task)
        # An answer from its old address says nothing about it.
        if reply is None or watch.removed or watch.present_address() != watch.where:
            return
        if overstayed:
            self._answered_late(watch, reply)
        elif watch.stands_in and reply.result is Result.PASSED:
            self._conclude(watch, self._taken_back(watch, reply))
        else:
            self._conclude(watch, reply)

    def time_out(self, watch: Watch[UpstreamT]) -> None:
        """Its check has timed out; it may still be answered."""
        if watch.present_address() == watch.where:
            detail = f"no complete response within {watch.settings.timeout:g}s"
            if came := watch.probe.so_far:
                detail = f"{detail}, only {came}"
            self._conclude(watch, Reply(Result.TIMEOUT, 0, detail))

    def _conclude(self, watch: Watch[UpstreamT], reply: Reply) -> None:
        fair = self._fair(watch, reply)
        if fair.result.counts and fair.result is not Result.TIMEOUT:
            watch.served_at_timeout = None
        watch.counts[fair.result.value] += 1
        if fair.result is not Result.NOT_MADE:
            self.durations[watch.upstream.pool].record(self._seconds(watch), self.edges)
        watch.last = last = self._told(watch, fair)
        if fair.result is Result.PASSED or fair.result is Result.SLOW:
            self._well_ns[watch.upstream.pool] = watch.started_ns
        self._report(watch, last)
        # Also if it has just moved to another address of its name: requests that wait at the old one must go
        # elsewhere, and none is sent to the new one before the check there, which ends the silence.
        if not watch.removed:
            self._sink.silent(watch.upstream, self._silent_since(watch, fair.result))
        asks, watch.asks = watch.asks, None
        if asks is not None:
            asks(last)

    def _answered_late(self, watch: Watch[UpstreamT], reply: Reply) -> None:
        """It was answered after its timeout. If it may have waited behind live requests, a pass revokes the
        timeout: a long backlog does not mean that the upstream is dead. Else the timeout stands."""
        if reply.result not in SAYS_NOTHING:
            watch.silence.end()
            self._sink.silent(watch.upstream, 0)
        if reply.result is Result.PASSED and watch.may_be_taken_back():
            watch.last = self._told(watch, self._taken_back(watch, reply))

    def _taken_back(self, watch: Watch[UpstreamT], reply: Reply) -> Reply:
        watch.served_at_timeout = None
        watch.verdict.restart()
        return Reply(Result.SLOW, 0, f"{reply.detail} after {self._seconds(watch):.2g}s")

    def _reply_of(self, watch: Watch[UpstreamT], task: asyncio.Task[Reply]) -> Reply | None:
        """None if the check was cancelled: removed, moved, or the next check is due."""
        if task.cancelled():
            return None
        if (error := task.exception()) is not None:
            log.error("bug: checking the upstream %s failed", watch.upstream.id, exc_info=error)
            return Reply(Result.NOT_MADE, 0, f"no check could be made ({type(error).__name__})")
        return task.result()

    def _fair(self, watch: Watch[UpstreamT], reply: Reply) -> Reply:
        """The reply, or one that does not count if the reply would blame the upstream without proof."""
        if reply.result not in TIME_PLAYED_A_PART:
            return reply
        timeout_ns = watch.settings.timeout * 1e9
        lag_ns = self._beat.lag_ns() - watch.lag_ns
        if reply.result is Result.TIMEOUT:
            looked_ns = self._clock.monotonic_ns() - watch.started_ns - lag_ns
            late = looked_ns < (1.0 - LATE) * timeout_ns
        else:
            late = lag_ns > LATE * timeout_ns
        if late:
            return Reply(Result.LATE, 0, reply.detail)
        if reply.result is Result.TIMEOUT and self._serves(watch):
            return Reply(Result.SLOW, 0, reply.detail)
        return reply

    def _serves(self, watch: Watch[UpstreamT]) -> bool:
        """Whether live requests at this upstream have succeeded while the check waited.

        If some succeeded since the last timeout that counted, that timeout is revoked: a replica that needs
        seconds per request may answer none during a check.
        """
        served = self._sink.served(watch.upstream)
        if watch.served is not None and served > watch.served:
            return True
        if watch.served_at_timeout is not None and served > watch.served_at_timeout:
            watch.verdict.restart()
        watch.served_at_timeout = served
        watch.was_busy = self._sink.is_busy(watch.upstream)
        return False

    def _silent_since(self, watch: Watch[UpstreamT], result: Result) -> int:
        """Since when it is silent; 0 if it may only be slow: it answered something before FALL checks had
        failed, or no other upstream of its pool has worked since, as when all wait for the same database."""
        silence = watch.silence
        if result in SAYS_NOTHING:
            answers = self._sink.answers(watch.upstream)
            silence.goes_on(watch.reading or Reading(self._clock.monotonic_ns(), answers), answers)
        elif result.counts or result is Result.SLOW:
            silence.end()
        others_are_well = self._well_ns.get(watch.upstream.pool, 0) > silence.since_ns
        return silence.since_ns if silence.checks >= watch.settings.fall and others_are_well else 0

    def _seconds(self, watch: Watch[UpstreamT]) -> float:
        return (self._clock.monotonic_ns() - watch.asked_ns) / 1e9

    def _told(self, watch: Watch[UpstreamT], reply: Reply) -> CheckResult:
        if reply.result is Result.PASSED:
            watch.passed_at = watch.where
        upstream = watch.upstream
        asked = Asked(watch.settings, upstream.id, watch.passed_at == watch.where, upstream.server_name)
        return CheckResult(
            time=self._clock.wall(),
            passed=reply.result is Result.PASSED,
            result=reply.result,
            status=reply.status,
            seconds=self._seconds(watch),
            detail=reply.detail,
            hint=hint(reply, asked),
        )

    def _report(self, watch: Watch[UpstreamT], last: CheckResult) -> None:
        verdict = watch.verdict
        had_passed = verdict.has_passed
        # A check that times out may have waited behind live requests.
        in_doubt = last.result is Result.TIMEOUT and watch.may_be_taken_back()
        needed = verdict.needed(last.passed, in_doubt)
        flip = verdict.observe(last.result, in_doubt)
        on = watch.settings.announces_drain(last.status)
        changes_drain = last.passed and watch.draining is not on
        if changes_drain:
            watch.draining = on
        # The watch is updated before anything is reported: the sink may remove the upstream.
        if changes_drain:
            self._sink.draining(watch.upstream, on, last.detail)
        if not had_passed and verdict.has_passed and not watch.removed:
            self._sink.passed_first(watch.upstream, last.detail)
        if flip is Flip.FAILING:
            checks = "its first check" if not had_passed and needed == 1 else _checks(needed)
            self._sink.failing(watch.upstream, f"{checks} failed; {last.hint}")
        elif flip is Flip.PASSING:
            self._sink.passing(watch.upstream, f"{_checks(needed)} passed; {last.detail}")
        if verdict.failing and last.result in NO_ANSWER and not watch.removed:
            self._sink.unanswered(watch.upstream, last.detail)


def _checks(times: int) -> str:
    return "a check" if times == 1 else f"{times} checks in a row"
