"""The context of policies in tests: seeded randomness, and a clock that the test moves."""

from random import Random

from balancer.clock import Clock
from balancer.policies.base import PolicyContext
from balancer.policies.conformance import BenchClock


def context(seed: int = 1, slot: int = 0, clock: Clock | None = None) -> PolicyContext:
    """A new context for each policy."""
    return PolicyContext(Random(seed), slot, clock or BenchClock())
