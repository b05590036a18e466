"""The time of a pick, and of a rebuild after an ejection: `python -m loadtests.pick_cost`.

Upstreams have zero to four requests in flight, so that not all are ties. Figures are the best of many short
rounds: the cost of the code, without other work of the machine.
"""

import sys
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from balancer.clock import SystemClock
from balancer.errors import Outcome
from balancer.policies import registry
from balancer.policies.base import Policy, PolicyContext
from balancer.policies.conformance import upstream
from balancer.upstreams.upstream import Upstream

SIZES = (2, 10, 100, 1000)
ROUNDS = 100
REBUILDS = 5
PICKS = 500
VARIANTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    *((name, {}) for name in sorted(registry.BUILT_IN)),
    ("consistent_hash", {"bounded_load": 1.25}),
)


def attempt_ns(policy: Policy, upstreams: list[Upstream], rounds: int = ROUNDS) -> tuple[float, float]:
    """Nanoseconds for one pick, and for its `started` and `finished` (0 if not used)."""
    random = Random(1)
    for one in upstreams:
        policy.finished(one, 0.001 + random.random() / 100, Outcome.SUCCESS)
    pick = told = float("inf")
    for _ in range(rounds):
        keys = [random.getrandbits(64) for _ in range(PICKS)]
        pick = min(pick, _ns(lambda: _picks(policy, keys)))  # noqa: B023 - called at once
        told = min(told, _ns(lambda: _told(policy, upstreams[0])))
    return pick / PICKS, told / PICKS if policy.tracks_load else 0.0


def _picks(policy: Policy, keys: list[int]) -> None:
    pick = policy.pick
    for key in keys:
        pick(key, ())


def _told(policy: Policy, one: Upstream) -> None:
    started, finished = policy.started, policy.finished
    for _ in range(PICKS):
        started(one)
        finished(one, 0.005, Outcome.SUCCESS)


def rebuild_ms(policy: Policy, upstreams: list[Upstream]) -> float:
    """Milliseconds for a rebuild after an ejection or a readmission, whichever takes longer."""
    ejected = _ns(lambda: policy.rebuild(upstreams[1:]))
    return max(ejected, _ns(lambda: policy.rebuild(upstreams))) / 1e6


def _ns(call: Callable[[], None]) -> int:
    began = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began


def row(name: str, options: Mapping[str, Any], sizes: tuple[int, ...], rounds: int = ROUNDS) -> list[str]:
    """The cells of one policy: the costs of an attempt for each size, of rebuilds at the largest."""
    random = Random(1)
    cells = [f"{name} {' '.join(f'{key}={value}' for key, value in options.items())}".strip()]
    first = again = told = 0.0
    for size in sizes:
        upstreams = [upstream(number, inflight=random.randrange(5)) for number in range(size)]
        policy = registry.build(name, options, PolicyContext(random, 0, SystemClock()))
        first = _ns(lambda: policy.rebuild(upstreams)) / 1e6  # noqa: B023 - called at once
        pick, told = attempt_ns(policy, upstreams, rounds)
        again = min(rebuild_ms(policy, upstreams) for _ in range(REBUILDS))
        cells.append(f"{pick:,.0f}")
    return [*cells, f"{told:,.0f}", f"{first:.1f}", f"{again:.1f}"]


def main() -> int:
    """Measure all built-in policies and print a table."""
    table = Table(
        title=f"ns per pick by number of upstreams, and to be told its end; ms per rebuild of {SIZES[-1]:,}",
        title_justify="left",
    )
    table.add_column("policy")
    for heading in (*(f"{size:,}" for size in SIZES), "told", "first rebuild", "one ejected"):
        table.add_column(heading, justify="right")
    for name, options in VARIANTS:
        table.add_row(*row(name, options, SIZES))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
