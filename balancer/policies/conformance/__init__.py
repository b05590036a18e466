"""The conformance suite: what every policy must do, whoever wrote it. Not in the way of any request.

Run all of it, or one check a test:

    from balancer.policies.conformance import CHECKS, check_policy

    check_policy(MyPolicy, choices=3)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_policy(check): check(MyPolicy)

Checks raise `NonConformance`, an AssertionError that says in words what was seen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from balancer.policies.base import Factory
from balancer.policies.conformance import cost, keys, picking, sharing
from balancer.policies.conformance.bench import Bench, BenchClock, NonConformance, upstream

__all__ = ["CHECKS", "Bench", "BenchClock", "NonConformance", "check_policy", "upstream"]

CHECKS: Final[tuple[Callable[[Factory], None], ...]] = (
    *picking.CHECKS,
    *sharing.CHECKS,
    *keys.CHECKS,
    *cost.CHECKS,
)


def check_policy(factory: Factory, **options: Any) -> None:
    """Run every check on what `factory(context, **options)` builds. Raises NonConformance."""
    for check in CHECKS:
        check(partial(factory, **options))
