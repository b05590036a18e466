"""The context for trying whether a policy can be built. Nothing is ever picked with it."""

from random import Random

from balancer.clock import SystemClock
from balancer.policies.base import PolicyContext


def trial_context() -> PolicyContext:
    """A new one, the same each time."""
    return PolicyContext(Random(0), 0, SystemClock())
