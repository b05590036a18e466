"""Peak EWMA: of two upstreams drawn at random, picks the one expected to succeed sooner."""

from collections.abc import Sequence
from math import exp
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from balancer.errors import Outcome
from balancer.policies.base import Policy, PolicyContext
from balancer.policies.sampling import draw_two
from balancer.upstreams.upstream import Upstream

DECAY: Final = 10.0  # seconds

_STEP: Final = 0.125  # how far one outcome moves the success rate
# An upstream that always fails loses even to one with a thousand requests in flight.
_LEAST_SUCCESS: Final = 1 / 1024
_TYPICAL_STEP: Final = 1 / 32  # how far one response moves the typical latency
_SHORTEST: Final = 1e-6  # seconds; latencies of zero could not be compared
_FIRST_GUESS: Final = 1e-3  # seconds, for all upstreams until the first response


class _Node:
    """What is known about one candidate: initially nothing, as if seen so long ago that it has faded."""

    __slots__ = ("latency", "seen_ns", "step", "success", "upstream", "weight")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.weight = 1.0
        self.step = 1.0  # the cost of one request in flight, 1 for an upstream of average weight
        self.latency = 0.0  # seconds
        self.success = 1.0  # rate, from 0 to 1
        self.seen_ns = -(1 << 62)


@mypyc_attr(allow_interpreted_subclasses=True)
class PeakEwma(Policy):
    """Compares latency * (inflight + 1) / success rate, with inflight taken by weight.

    The latency is a moving average that jumps to each slower response at once and decays with time (linkerd,
    Finagle). Two things differ from theirs. Observations decay towards the pool's typical latency, not
    towards zero: so an upstream that was slow once is tried again, and neither it nor a new one is flooded
    before its first response. And a failure never looks fast: it counts as no faster than typical, and the
    cost is divided by the success rate, as 1 / rate tries are needed for one success.

    A lighter upstream that would win yields at random, in proportion to the weights: so slow start and small
    weights also work in a quiet pool, where nothing is in flight to tell upstreams apart.
    """

    tracks_load: ClassVar[bool] = True
    compares_load: ClassVar[bool] = True
    summary: ClassVar[str] = "of two drawn at random, the one that answers sooner, by recent latency and load"

    __slots__ = ("_answered", "_draw", "_fade", "_nodes", "_now_ns", "_of", "_typical")

    def __init__(self, context: PolicyContext, *, decay: float = DECAY) -> None:
        """`decay`: seconds in which observations fade to about a third (1/e)."""
        super().__init__(context)
        if decay <= 0:
            raise ValueError(f"decay is {decay:g}; write the seconds in which old latencies fade, such as 10")
        self._fade = -1e-9 / decay  # per nanosecond
        self._draw = context.random.random
        self._now_ns = context.clock.monotonic_ns
        self._nodes: list[_Node] = []
        self._of: dict[Upstream, _Node] = {}
        self._answered = False  # whether any upstream has
        self._typical = _FIRST_GUESS  # seconds; of the nodes' latencies, including peaks

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        # An upstream that returns starts as new: its latency before the ejection is no guide.
        self._of = {upstream: self._of.get(upstream) or _Node(upstream) for upstream in candidates}
        self._nodes = list(self._of.values())
        mean = sum((one.effective_weight for one in candidates), 0.0) / (len(candidates) or 1)
        for node in self._nodes:
            node.weight = node.upstream.effective_weight
            node.step = mean / node.weight

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        drawn = draw_two(self._nodes, tried, self._draw)
        if len(drawn) < 2:
            return drawn[0].upstream if drawn else None
        now_ns = self._now_ns()
        better, worse = drawn
        cost, other_cost = self._cost(better, now_ns), self._cost(worse, now_ns)
        if other_cost < cost:
            better, worse, cost, other_cost = worse, better, other_cost, cost
        # The better it is, the less it yields: an upstream that hangs must not get its weight's share.
        if better.weight < worse.weight and self._draw() * cost * worse.weight > other_cost * better.weight:
            return worse.upstream
        return better.upstream

    def _cost(self, node: _Node, now_ns: int) -> float:
        kept = exp((now_ns - node.seen_ns) * self._fade)
        typical = self._typical
        upstream = node.upstream
        return (
            (typical + (node.latency - typical) * kept)
            * ((upstream.inflight + upstream.remote_inflight) * node.step + 1.0)
            / (1.0 + (node.success - 1.0) * kept)
        )

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        if outcome is Outcome.CLIENT_GONE or outcome is Outcome.CANCELLED:
            return
        node = self._of.get(upstream)
        if node is None:
            return  # it is no longer a candidate
        good = 1.0 if outcome is Outcome.SUCCESS else 0.0
        typical = self._typical
        least = _SHORTEST if good else typical
        if latency < least:
            latency = least
        now_ns = self._now_ns()
        kept = exp((now_ns - node.seen_ns) * self._fade)
        node.seen_ns = now_ns
        # Written so that equal latencies stay equal to the last bit: otherwise one of two would always win.
        faded = latency + (node.latency - latency) * kept
        node.latency = seen = faded if faded > latency else latency
        success = 1.0 + (node.success - 1.0) * kept
        success += (good - success) * _STEP
        node.success = success if success > _LEAST_SUCCESS else _LEAST_SUCCESS
        if good:
            if self._answered:
                # One very slow response must not make all others look fast: it counts as twice the typical.
                seen = seen if seen < 2.0 * typical else 2.0 * typical
                self._typical = typical + (seen - typical) * _TYPICAL_STEP
            else:
                self._typical = seen
                self._answered = True
