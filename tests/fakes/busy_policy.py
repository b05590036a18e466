"""A policy that computes for a long time in the worker's event loop."""

import time

from balancer.policies.base import PolicyContext
from balancer.policies.round_robin import RoundRobin
from balancer.upstreams.upstream import Upstream


class Busy(RoundRobin):
    """Uses `seconds` of CPU time at each pick."""

    __slots__ = ("_seconds",)

    def __init__(self, context: PolicyContext, seconds: float = 0.3) -> None:
        super().__init__(context)
        self._seconds = seconds

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        return super().pick(key, tried)
