"""How the attempts at an upstream ended in one worker, and the symptoms that outlier detection uses (L1)."""

from enum import StrEnum

from balancer.errors import Outcome
from balancer.upstreams.fault import Fault, Proof, Run


class Symptom(StrEnum):
    """Why an upstream is suspected."""

    SERVER_ERRORS = "5xx"  # it answers with 5xx
    FAILURES = "failures"  # no valid response: refused, reset, timed out, malformed


class SkipReason(StrEnum):
    """Why a suspect is not ejected: the label `reason` of `ejections_skipped_total`."""

    MAX_PERCENT = "max_percent"  # too many are ejected already
    LAST_ELIGIBLE = "last_eligible"  # no other upstream could take its requests
    POOL_WIDE = "pool_wide"  # the others do no better: the app or the load is the cause, not the replica


class TrafficHistory:
    """How the attempts at one upstream ended.

    Unless it is `watched`, a success only increments `successes`. Of these, the first `_forgotten` are not
    recent.
    """

    __slots__ = ("_forgotten", "_runs", "asked_ns", "doubted_ns", "held_until", "probation_ns",
                 "quiet_until_ns", "recent_errors", "recent_failures", "recent_timeouts", "runs_since_ns",
                 "successes", "trial_ns", "watched")  # fmt: skip

    def __init__(self) -> None:
        self.successes = 0
        self.recent_errors = 0
        self.recent_failures = 0  # after connecting; timeouts included
        self.recent_timeouts = 0
        self.watched = False  # a run has begun, or it is on probation: the next success matters
        self.quiet_until_ns = 0  # its ejection was skipped: not judged again before this time
        self.doubted_ns = 0  # when a check was requested: not requested again at once
        # Ejected here ahead of the supervisor: its state from revisions before this one is outdated.
        self.held_until = 0
        self.trial_ns = 0  # start of the request that decides on its probation; 0 while none runs
        self.probation_ns = 0  # start of its probation; 0 before
        self.asked_ns = 0  # when the first request after that arrived; 0 before
        self._forgotten = 0
        self._runs = {symptom: Run() for symptom in Symptom}
        self.runs_since_ns = 0  # time of the first failure of the current runs

    def failed(self, symptom: Symptom, fault: Fault, most: int, now_ns: int) -> Run:
        """Record a failed attempt and return the run of its symptom. `most` in a row are too many.

        A request that failed on every upstream alike belongs to no run."""
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
        """Record a success. It ends runs, unless its response began before they did: long downloads and
        tunnels end at any time, and show how the upstream was when they began."""
        self.successes += 1
        if answered_ns >= self.runs_since_ns:
            self.begin_anew()
            self.watched = False

    def begin_anew(self) -> None:
        """Reset the runs."""
        for run in self._runs.values():
            run.begin_anew()

    def begin_probation(self) -> None:
        """The upstream is readmitted on probation."""
        self.begin_anew()
        self.watched = True
        self.trial_ns = self.probation_ns = self.asked_ns = 0

    @property
    def recent_responses(self) -> int:
        """The number of recent responses, 5xx included."""
        return self.successes - self._forgotten + self.recent_errors

    def fade(self, halvings: int) -> None:
        """Halve the recent counts `halvings` times."""
        recent = self.successes - self._forgotten
        self._forgotten = self.successes - (recent >> halvings)
        self.recent_errors >>= halvings
        self.recent_failures >>= halvings
        self.recent_timeouts >>= halvings
