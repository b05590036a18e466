"""How long the checks of a pool took (L5): the cells of `active_check_duration_seconds{pool}`."""

from balancer.edges import CELLS, STANDARD, Edges


class Durations:
    """A histogram: its `cells` are those that `Edges` has; `sum` is in seconds."""

    __slots__ = ("cells", "sum")

    def __init__(self) -> None:
        self.cells = [0] * CELLS
        self.sum = 0.0

    def record(self, seconds: float, edges: Edges = STANDARD) -> None:
        """Count one check."""
        self.cells[edges.cell(round(seconds * 1e9))] += 1
        self.sum += seconds
