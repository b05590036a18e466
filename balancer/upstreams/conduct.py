"""What a worker has lately seen of an upstream, and the words that outlier detection has for it (L1)."""

from enum import StrEnum


class Symptom(StrEnum):
    """What an upstream is suspected for."""

    SERVER_ERRORS = "5xx"  # it answers, with 5xx
    FAILURES = "failures"  # it does not answer: refused, reset, timed out, malformed


class Spared(StrEnum):
    """Why a suspect stays: the label `reason` of `ejections_skipped_total`."""

    MAX_PERCENT = "max_percent"  # too many are ejected already
    LAST_ELIGIBLE = "last_eligible"  # nobody else could take its requests
    POOL_WIDE = "pool_wide"  # the others do no better: it is the app or the load, not the replica


class Conduct:
    """How the attempts at one upstream ended.

    Unless it is `watched` a success only adds one to `successes`. What is recent is what came after
    `_forgotten`.
    """

    __slots__ = ("_forgotten", "_runs", "asked_ns", "held_until", "probation_ns", "quiet_until_ns",
                 "recent_errors", "recent_timeouts", "runs_since_ns", "successes", "trial_ns",
                 "watched")  # fmt: skip

    def __init__(self) -> None:
        self.successes = 0
        self.recent_errors = 0
        self.recent_timeouts = 0
        self.watched = False  # a run has begun, or it is on probation: the next success matters
        self.quiet_until_ns = 0  # it was spared: not judged again before
        # Ejected here before the supervisor has said so: what it said in revisions before this is old.
        self.held_until = 0
        self.trial_ns = 0  # when the request began that decides on its probation; 0 while none runs
        self.probation_ns = 0  # when its probation began; 0 before
        self.asked_ns = 0  # when the first request after that came; 0 before
        self._forgotten = 0
        self._runs = dict.fromkeys(Symptom, 0)
        self.runs_since_ns = 0  # when the first failure of those that run came

    def failed(self, symptom: Symptom, now_ns: int) -> int:
        """One more attempt that did not succeed; how many of this kind there were since the last success."""
        runs = self._runs
        if not any(runs.values()):
            self.runs_since_ns = now_ns
        if symptom is Symptom.SERVER_ERRORS:
            self.recent_errors += 1
        self.watched = True
        runs[symptom] += 1
        return runs[symptom]

    def succeeded(self, answered_ns: int) -> None:
        """One more attempt that succeeded. It ends runs, unless its response had begun before they did: long
        downloads and tunnels end all the time, and tell how the upstream was when they began."""
        self.successes += 1
        if answered_ns >= self.runs_since_ns:
            self.begin_anew()
            self.watched = False

    def begin_anew(self) -> None:
        """Runs begin with the next attempt."""
        for symptom in Symptom:
            self._runs[symptom] = 0

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
        self.recent_timeouts >>= halvings
