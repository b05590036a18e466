"""Load that keeps its rate whatever becomes of it, and what its clients saw (faults, overload, goodput)."""
