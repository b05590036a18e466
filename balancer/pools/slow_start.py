"""Slow start (L4): an upstream that has come back gets its share of the load little by little.

A process that has just started has cold caches, no connections and code still to be compiled. Its effective
weight grows in a straight line from a tenth of its weight, as in HAProxy and Envoy. The supervisor says when
a ramp began; its clock and the workers' are one (CLOCK_MONOTONIC), so a worker that is replaced goes on
where the one before was.
"""

from collections.abc import Iterable

from balancer.clock import Clock
from balancer.upstreams.upstream import Upstream

# Shares of the weight. A policy is rebuilt at each step, which costs a ring of 1,000 upstreams 4 ms or more.
FIRST = 2
STEPS = 20


def ramp(since_ns: int, now_ns: int, duration_ns: int) -> float:
    """The share of its weight that an upstream has `now_ns`, from 0.1 to 1.0, if its ramp began `since_ns`.

    `since_ns` 0 means that it has none.
    """
    if not since_ns or now_ns - since_ns >= duration_ns:
        return 1.0
    return max(FIRST, (now_ns - since_ns) * STEPS // duration_ns) / STEPS


class SlowStart:
    """The ramps of one pool's upstreams in one worker. Costs nothing while there are none."""

    __slots__ = ("_clock", "_duration_ns", "_ramping")

    def __init__(self, duration_ns: int, clock: Clock) -> None:
        self._duration_ns = duration_ns
        self._clock = clock
        self._ramping: list[Upstream] = []

    def begin(self, upstreams: Iterable[Upstream]) -> None:
        """These are the upstreams; each is given the weight that it has at this moment."""
        now_ns = self._clock.monotonic_ns()
        self._ramping = []
        for upstream in upstreams:
            share = ramp(upstream.ramp_since_ns, now_ns, self._duration_ns)
            upstream.effective_weight = upstream.weight * share
            if share < 1.0:
                self._ramping.append(upstream)

    def step(self) -> bool:
        """Bring the weights up to date; whether one has changed."""
        ramping = self._ramping
        if not ramping:
            return False
        before = [upstream.effective_weight for upstream in ramping]
        self.begin(ramping)
        return before != [upstream.effective_weight for upstream in ramping]
