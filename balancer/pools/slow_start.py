"""Slow start (L4): an upstream that has returned gets its share of the load gradually.

A process that has just started has cold caches, no connections and code still to be compiled. Its effective
weight grows linearly from a tenth of its weight, as in HAProxy and Envoy. The supervisor sends when a ramp
began; it shares its clock with the workers (CLOCK_MONOTONIC), so a replacement worker continues where its
predecessor was.
"""

from collections.abc import Iterable
from typing import Final

from balancer.clock import Clock
from balancer.upstreams.upstream import Upstream

# In twentieths of the weight. The policy is rebuilt at each step, which takes 4 ms or more for a ring of
# 1,000 upstreams.
FIRST: Final = 2
STEPS: Final = 20


def ramp(since_ns: int, now_ns: int, duration_ns: int) -> float:
    """The share of its weight that an upstream has at `now_ns`, from 0.1 to 1.0, if its ramp began at
    `since_ns`, 0 = no ramp.
    """
    if not since_ns or now_ns - since_ns >= duration_ns:
        return 1.0
    return max(FIRST, (now_ns - since_ns) * STEPS // duration_ns) / STEPS


class SlowStart:
    """The ramps of one pool's upstreams in one worker. No cost while there are none."""

    __slots__ = ("_clock", "_duration_ns", "_ramping")

    def __init__(self, duration_ns: int, clock: Clock) -> None:
        self._duration_ns = duration_ns
        self._clock = clock
        self._ramping: list[Upstream] = []

    def begin(self, upstreams: Iterable[Upstream]) -> None:
        """Set the upstreams; each gets the weight that is due now."""
        now_ns = self._clock.monotonic_ns()
        self._ramping = []
        for upstream in upstreams:
            share = ramp(upstream.ramp_since_ns, now_ns, self._duration_ns)
            upstream.effective_weight = upstream.weight * share
            if share < 1.0:
                self._ramping.append(upstream)

    def step(self) -> bool:
        """Update the weights; returns whether one has changed."""
        ramping = self._ramping
        if not ramping:
            return False
        before = [upstream.effective_weight for upstream in ramping]
        self.begin(ramping)
        return before != [upstream.effective_weight for upstream in ramping]
