"""How the attempts at an upstream ended in one worker, and the words that outlier detection has for it
(L1)."""

from enum import StrEnum

from balancer.errors import Outcome
from balancer.upstreams.fault import Fault, Proof, Run


class Symptom(StrEnum):
    """What an upstream is suspected for."""

    SERVER_ERRORS = "5xx"  # it answers, with 5xx
    FAILURES = "failures"  # it does not answer: refused, reset, timed out, malformed


class SkipReason(StrEnum):
    """Why a suspect stays: the label `reason` of `ejections_skipped_total`."""

    MAX_PERCENT = "max_percent"  # too many are ejected already
    LAST_ELIGIBLE = "last_eligible"  # nobody else could take its requests
    POOL_WIDE = "pool_wide"  # the others do no better: it is the app or the load, not the replica


class TrafficHistory:
    """How the attempts at one upstream ended.

    Unless it is `watched` a success only adds one to `successes`. What is recent is what came after
    `_forgotten`.
    """

    __slots__ = ("_forgotten", "_runs", "asked_ns", "doubted_ns", "held_until", "probation_ns",
                 "quiet_until_ns", "recent_errors", "recent_failures", "recent_timeouts", "runs_since_ns",
                 "successes", "trial_ns", "watched")  # fmt: skip

    def __init__(self) -> None:
        self.successes = 0
        self.recent_errors = 0
        self.recent_failures = 0  # after a connection was there; timeouts are among them
        self.recent_timeouts = 0
        self.watched = False  # a run has begun, or it is on probation: the next success matters
        self.quiet_until_ns = 0  # its ejection was skipped: not judged again before
        self.doubted_ns = 0  # when a check was asked for: not again at once
        # Ejected here before the supervisor has said so: what it said in revisions before this is old.
        self.held_until = 0
        self.trial_ns = 0  # when the request began that decides on its probation; 0 while none runs
        self.probation_ns = 0  # when its probation began; 0 before
        self.asked_ns = 0  # when the first request after that came; 0 before
        self._forgotten = 0
        self._runs = {symptom: Run() for symptom in Symptom}
        self.runs_since_ns = 0  # when the first failure of those that run came

    def failed(self, symptom: Symptom, fault: Fault, most: int, now_ns: int) -> Run:
        """One more attempt that did not succeed; the run of its kind. `most` in a row are too many.

        What failed everywhere alike belongs to no run."""
        runs = self._runs
        run = runs[symptom]
        if fault.outcome is Outcome.SERVER_ERROR:
            self.recent_errors += 1
        elif fault.outcome is not Outcome.CONNECT_FAILED:
            self.recent_failures += 1
            self.recent_timeouts += fault.outcome is Outcome.TIMED_OUT
        if fault.proof is not Proof.ALIKE:
            if not any(one.length for one in runs.values()):
                self.runs_since_ns = now_ns
            self.watched = True
            run.add(fault, most)
        return run

    def succeeded(self, answered_ns: int) -> None:
        """One more attempt that succeeded. It ends runs, unless its response had begun before they did: long
        downloads and tunnels end all the time, and tell how the upstream was when they began."""
        self.successes += 1
        if answered_ns >= self.runs_since_ns:
            self.begin_anew()
            self.watched = False

    def begin_anew(self) -> None:
        """Runs begin with the next attempt."""
        for run in self._runs.values():
            run.begin_anew()

    def begin_probation(self) -> None:
        """It is readmitted for a trial."""
        self.begin_anew()
        self.watched = True
        self.trial_ns = self.probation_ns = self.asked_ns = 0

    @property
    def recent_responses(self) -> int:
        """Lately, 5xx included."""
        return self.successes - self._forgotten + self.recent_errors

    def fade(self, halvings: int) -> None:
        """What was recent so far counts half, `halvings` times."""
        recent = self.successes - self._forgotten
        self._forgotten = self.successes - (recent >> halvings)
        self.recent_errors >>= halvings
        self.recent_failures >>= halvings
        self.recent_timeouts >>= halvings
