"""Checks: who gets how much."""

from collections import Counter
from collections.abc import Callable
from math import sqrt
from typing import Final

from balancer.policies.base import Factory
from balancer.policies.conformance.bench import LATENCY, Bench, require, require_shares
from balancer.upstreams.upstream import Upstream


def equal_candidates_share_equally(factory: Factory) -> None:
    """Under load that is held: ties go in turn, not always to the first."""
    for size in (2, 3, 5, 16, 40):
        bench = Bench(factory, [1.0] * size)
        require_shares(bench, bench.held(1000 * size), bench.upstreams)


def none_of_equal_candidates_starves(factory: Factory) -> None:
    """One request at a time: each candidate gets its turn."""
    for size in (2, 5, 16, 40):
        bench = Bench(factory, [1.0] * size)
        counts = bench.sequential(1000 * size)
        for one in bench.upstreams:
            require(
                counts[one] > 500,
                f"of {size} equal upstreams, one got {counts[one]} of {1000 * size} requests",
            )


def load_follows_the_weights(factory: Factory) -> None:
    """Held requests are spread in proportion to the effective weights, fractions included."""
    for weights in ([1.0, 2.0, 3.0], [3.0, 1.0], [0.5, 1.0, 1.0], [1.0, 2.0] * 20):
        bench = Bench(factory, weights)
        picks = 12_000
        counts = bench.held(picks)
        for weight in set(weights):
            group = [one for one in bench.upstreams if one.effective_weight == weight]
            got = sum(counts[one] for one in group) / picks
            fair = weight * len(group) / sum(weights)
            require(
                abs(got - fair) <= fair * bench.tolerance,
                f"weights {weights[:3]}: those of weight {weight} got {got:.3f} instead of {fair:.3f}",
            )


def an_ejected_one_leaves_the_others_their_weights(factory: Factory) -> None:
    """Weights live on the upstream, not on its position; a readmitted one gets its share again."""
    bench = Bench(factory, [1.0, 2.0, 3.0])
    for gone in bench.upstreams:
        candidates = bench.rebuild(without=[gone])
        counts = bench.held(12_000)
        require(counts[gone] == 0, "picked the ejected upstream")
        require_shares(bench, counts, candidates)
    bench.rebuild()
    require_shares(bench, bench.held(12_000), bench.upstreams)


def a_changed_weight_counts_after_rebuild(factory: Factory) -> None:
    """A weight set on the upstream takes effect with the next `rebuild`."""
    bench = Bench(factory, [1.0, 1.0])
    bench.held(100)
    bench.upstreams[1].effective_weight = 3.0
    bench.rebuild()
    require_shares(bench, bench.held(12_000), bench.upstreams)


def chance_is_even(factory: Factory) -> None:
    """Of equal candidates, one request at a time, each gets as many as chance allows (chi-square)."""
    for size in (2, 5, 16, 17, 40):
        bench = Bench(factory, [1.0] * size)
        if bench.policy.needs_key:
            return  # the points of a hash are not as even as that
        counts = bench.sequential(500 * size)
        chi_square = sum((counts[one] - 500) ** 2 / 500 for one in bench.upstreams)
        most = _chi_square_limit(size - 1)
        require(
            chi_square <= most,
            f"of {size} equal upstreams, the shares give a chi-square of {chi_square:.0f} > {most:.0f}",
        )


def _chi_square_limit(freedom: int) -> float:
    """What chance exceeds once in 30,000 times (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 4 * sqrt(spread)) ** 3)


def a_slow_start_gets_its_ramp(factory: Factory) -> None:
    """One of five that comes back with a tenth of its weight gets some, but not the share of a whole one."""
    for running in (1, 12):
        bench = Bench(factory, [1.0] * 5)
        back = bench.upstreams[2]
        counts: Counter[Upstream] = Counter()
        fair = 0.0
        queue: list[Upstream] = []
        for step in range(1, 6):
            back.effective_weight = step / 10
            fair += 400 * back.effective_weight / (4 + back.effective_weight)
            bench.rebuild()
            for _ in range(400):
                if len(queue) == running:
                    bench.clock.advance(LATENCY)
                    bench.finish(queue.pop(0))
                chosen = bench.choose()
                assert chosen is not None
                counts[chosen] += 1
                queue.append(chosen)
        got, most = counts[back], 300
        require(
            got >= fair / 4,
            f"with {running} in flight, a slow start got {got} requests instead of {fair:.0f}",
        )
        require(
            got <= most,
            f"with {running} in flight, a slow start got {got} requests, a whole share is 400",
        )


CHECKS: Final[tuple[Callable[[Factory], None], ...]] = (
    equal_candidates_share_equally,
    none_of_equal_candidates_starves,
    load_follows_the_weights,
    an_ejected_one_leaves_the_others_their_weights,
    a_changed_weight_counts_after_rebuild,
    chance_is_even,
    a_slow_start_gets_its_ramp,
)
