"""Checks: whatever the candidates and whatever has been tried, the answer is right, and comes soon."""

from collections.abc import Callable
from random import Random
from typing import Final

from balancer.errors import Outcome
from balancer.policies.base import Factory
from balancer.policies.conformance.bench import SEED, Bench, require, upstream
from balancer.policies.conformance.cost import within
from balancer.upstreams.upstream import Upstream

# Around the sizes at which policies change their ways: none, one, a pair, a scan, a sample, many.
SIZES: Final = (1, 2, 5, 16, 17, 40, 1000)


def _soon(bench: Bench, tried: tuple[Upstream, ...] = ()) -> Upstream | None:
    """What is chosen, in bounded steps: an endless search is told of instead of waited for."""
    return within(lambda: bench.choose(tried), 1000 + 100 * len(bench.upstreams))


def no_candidates_give_none(factory: Factory) -> None:
    """An empty pool: None, and it works again with the next candidates."""
    bench = Bench(factory, [])
    require(bench.choose() is None, "picked an upstream though there are no candidates")
    bench.upstreams = [upstream(1)]
    bench.rebuild()
    require(bench.choose() is not None, "returned None after candidates were added")
    bench.policy.rebuild([])
    require(bench.choose() is None, "picked an upstream after all candidates were removed")


def a_single_candidate_is_picked(factory: Factory) -> None:
    """One candidate takes it all, whatever its weight and load."""
    for weight in (0.01, 1.0, 256.0):
        bench = Bench(factory, [weight])
        only = bench.upstreams[0]
        for _ in range(50):
            require(_soon(bench) is only, f"the only candidate (weight {weight}) was not picked")
        require(_soon(bench, (only,)) is None, "the only candidate was already tried, but was picked")


def only_candidates_are_picked(factory: Factory) -> None:
    """Never one that is not, or no longer, among the candidates."""
    for size in SIZES:
        bench = Bench(factory, [1.0] * size)
        gone = bench.upstreams[::2]
        candidates = bench.rebuild(without=gone)
        for _ in range(100):
            chosen = bench.choose()
            require(chosen not in gone, f"of {size}: picked a former candidate")
            require(
                chosen is not None or not candidates, f"of {size}: returned None, though there are candidates"
            )


def tried_ones_are_not_picked_again(factory: Factory) -> None:
    """Going through all of them one by one, as retries do, meets each exactly once."""
    for size in SIZES:
        bench = Bench(factory, [1.0 + number % 3 for number in range(min(size, 100))])
        tried: tuple[Upstream, ...] = ()
        for left in range(len(bench.upstreams), 0, -1):
            chosen = _soon(bench, tried)
            require(chosen is not None, f"returned None though {left} were not yet tried")
            assert chosen is not None
            require(chosen not in tried, "picked one that was already tried")
            tried = (*tried, chosen)


def all_tried_gives_none_in_bounded_steps(factory: Factory) -> None:
    """No endless search for what is not there."""
    for size in SIZES:
        bench = Bench(factory, [1.0 + number % 3 for number in range(size)])
        tried = tuple(bench.upstreams)
        chosen = _soon(bench, tried)
        require(chosen is None, f"all {size} were tried, but one was picked")


def the_last_one_left_is_found(factory: Factory) -> None:
    """All but one tried: that one, wherever it stands."""
    for size in SIZES[1:-1]:
        bench = Bench(factory, [1.0] * size)
        for last in bench.upstreams:
            tried = tuple(one for one in bench.upstreams if one is not last)
            chosen = _soon(bench, tried)
            require(chosen is last, f"of {size}: did not pick the last one left")


def rebuild_in_use_loses_nothing(factory: Factory) -> None:
    """Attempts end at upstreams that are no candidates any more, and candidates come and go meanwhile."""
    bench = Bench(factory, [1.0] * 5)
    order = Random(SEED)
    running: list[Upstream] = []
    candidates = bench.upstreams
    for turn in range(2000):
        if turn % 7 == 0:
            candidates = bench.rebuild(without=order.sample(bench.upstreams, order.randint(0, 4)))
        chosen = bench.choose()
        require(chosen in candidates, "picked one that is no candidate after a rebuild in use")
        assert chosen is not None
        running.append(chosen)
        if len(running) > 20:
            bench.finish(running.pop(order.randrange(len(running))))
    for one in running:
        bench.finish(one)
    bench.rebuild()
    counts = bench.held(5000)
    for one in bench.upstreams:
        require(counts[one] > 250, f"at the end, one of five equal upstreams got {counts[one]} of 5000")


def the_same_seed_gives_the_same_picks(factory: Factory) -> None:
    """Randomness comes from the generator that was handed in, and from nowhere else."""
    for size in (5, 40):
        runs = []
        for _ in range(2):
            bench = Bench(factory, [1.0, 2.0, 3.0, 4.0, 5.0] * (size // 5))
            picks = [bench.choose() for _ in range(300)]
            runs.append([one.id if one is not None else None for one in picks])
        require(runs[0] == runs[1], "built twice with the same seed, it picked differently")


def every_outcome_is_taken(factory: Factory) -> None:
    """No outcome and no latency makes it fail, and none bars an upstream for good."""
    bench = Bench(factory, [1.0, 1.0])
    for outcome in Outcome:
        for latency in (0.0, 1e-9, 1.0, 1e5):
            for chosen in [bench.choose(), bench.choose()]:
                if chosen is not None:
                    bench.finish(chosen, latency, outcome)
    require(len(bench.held(10_000)) == 2, "after failures, one of two gets no more requests")


def upstreams_are_left_as_they_are(factory: Factory) -> None:
    """The core keeps inflight, and weights are no policy's to set; nor is the list of candidates."""
    bench = Bench(factory, [1.0, 2.5, 4.0])
    candidates = list(bench.upstreams)
    bench.policy.rebuild(candidates)
    bench.held(100)
    bench.sequential(100)
    require(candidates == bench.upstreams, "the sequence of candidates was changed")
    state = [(one.inflight, one.effective_weight) for one in bench.upstreams]
    require(state == [(0, 1.0), (0, 2.5), (0, 4.0)], f"inflight or weights were changed: {state}")


CHECKS: Final[tuple[Callable[[Factory], None], ...]] = (
    no_candidates_give_none,
    a_single_candidate_is_picked,
    only_candidates_are_picked,
    tried_ones_are_not_picked_again,
    all_tried_gives_none_in_bounded_steps,
    the_last_one_left_is_found,
    rebuild_in_use_loses_nothing,
    the_same_seed_gives_the_same_picks,
    every_outcome_is_taken,
    upstreams_are_left_as_they_are,
)
