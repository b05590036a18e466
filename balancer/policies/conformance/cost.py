"""What a pick costs, counted in lines of Python instead of time, so that every run gives the same."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from balancer.policies.base import Factory
from balancer.policies.conformance.bench import Bench, NonConformance, require
from balancer.upstreams.upstream import Upstream

_PICKS: Final = 200
# More than a search by halves takes, and less than a look at every candidate.
_MOST_MORE: Final = 60


def within(call: Callable[[], Upstream | None], lines: int) -> Upstream | None:
    """The answer of `call`. Raises NonConformance when it executes more than `lines` lines of Python."""
    return _counted(call, lines)[0]


def a_pick_costs_the_same_among_many(factory: Factory) -> None:
    """Flat from 2 to 1,000 upstreams. (What C code does is not seen: `min(candidates)` is one line.)"""
    few = _lines_per_pick(factory, 2)
    for size in (40, 200, 1000):
        many = _lines_per_pick(factory, size)
        require(
            many <= 2 * few + _MOST_MORE,
            f"a pick runs {few:.0f} lines with 2 candidates, {many:.0f} with {size}",
        )


def _lines_per_pick(factory: Factory, size: int) -> float:
    bench = Bench(factory, [1.0 + number % 3 for number in range(size)])
    executed = 0
    for _ in range(_PICKS):
        key = bench.key()
        executed += _counted(lambda: bench.policy.pick(key, ()), 100_000)[1]  # noqa: B023 - called at once
    return executed / _PICKS


def _counted(call: Callable[[], Upstream | None], most: int) -> tuple[Upstream | None, int]:
    """The answer, and how many lines it took; given up after `most`."""
    executed = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        executed += event == "line"
        if executed > most:
            raise NonConformance(f"no answer within {most} lines of code: an endless search?")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        answer = call()
        return answer, executed
    finally:
        sys.settrace(before)


CHECKS: Final[tuple[Callable[[Factory], None], ...]] = (a_pick_costs_the_same_among_many,)
