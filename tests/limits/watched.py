"""Samples of an invented upstream, as its adaptive limit sees it."""

from collections.abc import Callable

from balancer.edges import STANDARD
from balancer.limits.concurrency_limit import ConcurrencyBounds, ConcurrencyLimit
from balancer.limits.window import Sample
from balancer.telemetry.columns import HISTOGRAM_CELLS

BEAT = 0.05  # seconds between two samples


class Watched:
    """An upstream that by default answers 200 requests a second after 20 ms each, and its limit."""

    def __init__(self, least: int = 1, most: int = 1000, like: ConcurrencyLimit | None = None) -> None:
        self.limit = ConcurrencyLimit(ConcurrencyBounds(least, most), like)
        self.now = 100.0
        self.awaiting = 4
        self._awaited = 4  # at the sample before
        self.answers = [0] * HISTOGRAM_CELLS
        self.answered_ns = 0
        self.left = 0
        self.owed = 0.0  # the fraction of an answer that is left over
        self.waited = 0.0
        self.looks = self.full_looks = 0
        self.share = 1  # this worker has one in `share` requests

    def goes(
        self,
        seconds: float,
        *,
        rate: float = 200.0,
        takes: float = 0.02,
        leave: float = 0.0,
        pressed: bool = False,
        waited_for: bool = True,
    ) -> list[int]:
        """Play this traffic; returns the limit after each sample."""
        limits = []
        for _ in range(round(seconds / BEAT)):
            self.now += BEAT
            self.owed += rate * BEAT
            answers = int(self.owed + 1e-9)
            self.owed -= answers
            self.answers[STANDARD.cell(round(takes * 1e9))] += answers
            self.answered_ns += round(answers * takes * 1e9)
            self.left += round(leave * BEAT)
            self.waited += (self.awaiting + self._awaited) / 2 * BEAT
            self._awaited = self.awaiting
            self.looks += 1
            mine = self.awaiting // self.share
            self.full_looks += waited_for and 0 < self.limit.limit <= mine
            sample = Sample(
                now=self.now,
                mine=mine,
                given=sum(self.answers) // self.share,
                awaiting=self.awaiting,
                answers=tuple(self.answers),
                answered_ns=self.answered_ns,
                total=sum(self.answers),
                left=self.left,
                waited=self.waited,
                looks=self.looks,
                full=self.full_looks,
            )
            limit = self.limit.observe(sample)
            limits.append(self.limit.press(sample) if pressed else limit)
        return limits

    def overloaded(self) -> int:
        """Ten seconds of usual traffic, then three times the request rate until a limit is set; returns
        it."""
        self.goes(10.0)
        while not self.limit.limit:
            assert self.awaiting < 1000
            self.awaiting += 20
            self.goes(BEAT, takes=self.awaiting / 600)
        return self.limit.limit

    def full(
        self, seconds: float, *, rate: Callable[[int], float] = lambda _: 200.0, leave: float = 0.0
    ) -> list[int]:
        """All slots are taken throughout; `rate` maps the requests in flight to the answer rate."""
        limits: list[int] = []
        for _ in range(round(seconds / BEAT)):
            self.awaiting = self.limit.limit * self.share
            limits += self.goes(
                BEAT, rate=rate(self.awaiting), takes=self.awaiting / rate(self.awaiting), leave=leave
            )
        return limits


def in_trial(left: int = 0) -> Watched:
    """A limit on trial: the requests sent before it have been answered, so that the trial is judged from now
    on. `left` clients have left before."""
    watched = Watched()
    watched.left = left
    assert watched.overloaded() == 17
    assert watched.full(0.15) == [17] * 3
    return watched


def held() -> Watched:
    """An upstream whose limit has settled."""
    watched = Watched()
    watched.overloaded()
    watched.full(3.0)
    assert watched.limit.limit == 7  # 200/s, 20 ms, with headroom
    return watched
