"""How long the checks of a pool took (L5): the cells of `active_check_duration_seconds{pool}`."""

from bisect import bisect_left

from balancer.telemetry.columns import BUCKETS, HISTOGRAM_CELLS


class Durations:
    """A histogram: `cells` has one count per bound of `BUCKETS` and one above them; `sum` is in seconds."""

    __slots__ = ("cells", "sum")

    def __init__(self) -> None:
        self.cells = [0] * HISTOGRAM_CELLS
        self.sum = 0.0

    def record(self, seconds: float) -> None:
        """Count one check."""
        self.cells[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds
