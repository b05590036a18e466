"""Open-loop load, which keeps its rate whatever happens, and its clients' records (faults, overload,
goodput)."""
