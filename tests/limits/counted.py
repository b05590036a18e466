"""Samples of an invented upstream, from the counts of its answers and departures."""

from balancer.limits.window import Sample
from balancer.telemetry.columns import HISTOGRAM_CELLS

BEAT = 0.05  # seconds between two samples


class Counted:
    """An upstream with `awaiting` requests in flight, half of them from this worker."""

    def __init__(self, awaiting: int = 200) -> None:
        self.now = 100.0
        self.answered = self.left = 0.0
        self._awaiting = awaiting

    def sample(self) -> Sample:
        answers = int(self.answered + 1e-9)
        return Sample(
            now=self.now,
            mine=self._awaiting // 2,
            given=answers // 2,
            awaiting=self._awaiting,
            answers=(answers, *[0] * (HISTOGRAM_CELLS - 1)),
            answered_ns=answers * 1_000_000,
            total=answers,
            left=int(self.left + 1e-9),
            waited=self._awaiting * self.now,
            looks=round(self.now / BEAT),
            full=0,
        )

    def beat(self, rate: float, leave: float) -> Sample:
        """The next sample, with `rate` answers and `leave` departures a second."""
        self.now += BEAT
        self.answered += rate * BEAT
        self.left += leave * BEAT
        return self.sample()
