"""A policy that blocks the worker's event loop, as one that makes network requests would."""

import time

from balancer.policies.base import PolicyContext
from balancer.policies.round_robin import RoundRobin
from balancer.upstreams.upstream import Upstream


class Slow(RoundRobin):
    """Sleeps for `stall` seconds at each pick, or only `at` the pick with this number, counted from 1."""

    __slots__ = ("_at", "_picks", "_stall")

    def __init__(self, context: PolicyContext, stall: float = 0.2, at: int = 0) -> None:
        super().__init__(context)
        self._stall = stall
        self._at = at
        self._picks = 0

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self._picks += 1
        if not self._at or self._picks == self._at:
            time.sleep(self._stall)
        return super().pick(key, tried)
