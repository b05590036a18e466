"""A policy that can be made where settings are checked, but not in a worker."""

import sys

from balancer.policies.base import PolicyContext
from balancer.policies.round_robin import RoundRobin


class Failing(RoundRobin):
    """Raises a RuntimeError in a worker."""

    __slots__ = ()

    def __init__(self, context: PolicyContext) -> None:
        if "balancer.runtime.build" in sys.modules:
            raise RuntimeError("its map cannot be read")
        super().__init__(context)
