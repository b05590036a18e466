"""The conformance suite: what every policy must do, whoever wrote it. Not in the way of any request.

Run all of it, or one check a test:

    from balancer.policies.conformance import CHECKS, check_policy

    check_policy(lambda context: MyPolicy(context.random))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_policy(check): check(lambda context: MyPolicy(context.random))

Checks raise `NonConformance`, an AssertionError that says in words what was seen.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from types import FrameType
from typing import Any

from balancer.errors import Outcome
from balancer.policies.base import Policy
from balancer.policies.registry import Factory, PolicyContext
from balancer.upstreams.upstream import Upstream

_SEED = 20240607
# Around the sizes at which policies change their ways: none, one, a pair, a scan, a sample, many.
_SIZES = (1, 2, 5, 16, 17, 40, 1000)


class NonConformance(AssertionError):
    """A policy does not do what every policy must."""


class Bench:
    """A policy with upstreams of given weights, driven as the pool drives it."""

    def __init__(self, factory: Factory, weights: Sequence[float], *, seed: int = _SEED, slot: int = 0):
        self.upstreams = [upstream(number, weight) for number, weight in enumerate(weights)]
        self.policy: Policy = factory(PolicyContext(Random(seed), slot))
        self._keys = Random(seed + 1)
        self.rebuild()

    def rebuild(self, without: Sequence[Upstream] = ()) -> list[Upstream]:
        """Make all upstreams candidates, but those in `without`; gives the candidates."""
        candidates = [one for one in self.upstreams if one not in without]
        self.policy.rebuild(candidates)
        return candidates

    def choose(self, tried: tuple[Upstream, ...] = ()) -> Upstream | None:
        """One attempt begins."""
        key = self._keys.getrandbits(64) if self.policy.needs_key else 0
        chosen = self.policy.pick(key, tried)
        if chosen is not None:
            if self.policy.tracks_load:
                self.policy.started(chosen)
            chosen.inflight += 1
        return chosen

    def finish(self, chosen: Upstream, latency: float = 0.01, outcome: Outcome = Outcome.SUCCESS) -> None:
        """The attempt at `chosen` ends."""
        chosen.inflight -= 1
        if self.policy.tracks_load:
            self.policy.finished(chosen, latency, outcome)

    def held(self, picks: int) -> "Counter[Upstream]":
        """How often each is chosen in `picks` attempts, none of which ends before the last has begun."""
        chosen = [self.choose() for _ in range(picks)]
        for one in chosen:
            if one is not None:
                self.finish(one)
        return Counter(one for one in chosen if one is not None)

    def sequential(self, picks: int) -> "Counter[Upstream]":
        """The same, but each attempt ends before the next one begins."""
        counts: Counter[Upstream] = Counter()
        for _ in range(picks):
            chosen = self.choose()
            if chosen is not None:
                counts[chosen] += 1
                self.finish(chosen)
        return counts

    @property
    def tolerance(self) -> float:
        """How far a share may be off, relatively: a hash spreads less evenly than a turn."""
        return 0.3 if self.policy.needs_key else 0.12


def upstream(number: int, weight: float = 1.0, inflight: int = 0) -> Upstream:
    """An upstream as policies see them; its row in the stats segment is a dummy."""
    made = Upstream(
        f"app{number}:8000", f"10.0.{number >> 8}.{number & 255}", 8000, max(1, int(weight)), _DUMMY
    )
    made.effective_weight = float(weight)
    made.inflight = inflight
    return made


_DUMMY = memoryview(bytearray(8)).cast("q")


# --- the checks


def no_candidates_give_none(factory: Factory) -> None:
    """An empty pool: None, and it works again with the next candidates."""
    bench = Bench(factory, [])
    _require(bench.choose() is None, "picked an upstream though there are no candidates")
    bench.upstreams = [upstream(1)]
    bench.rebuild()
    _require(bench.choose() is not None, "found none after candidates had come")
    bench.policy.rebuild([])
    _require(bench.choose() is None, "picked an upstream after all candidates had gone")


def a_single_candidate_is_picked(factory: Factory) -> None:
    """One candidate takes it all, whatever its weight and load."""
    for weight in (0.01, 1.0, 256.0):
        bench = Bench(factory, [weight])
        only = bench.upstreams[0]
        for _ in range(50):
            _require(bench.choose() is only, f"the only candidate (weight {weight}) was not picked")
        _require(bench.choose((only,)) is None, "the only candidate was tried, and yet something was picked")


def only_candidates_are_picked(factory: Factory) -> None:
    """Never one that is not, or no longer, among the candidates."""
    for size in _SIZES:
        bench = Bench(factory, [1.0] * size)
        gone = bench.upstreams[::2]
        candidates = bench.rebuild(without=gone)
        for _ in range(100):
            chosen = bench.choose()
            _require(chosen not in gone, f"of {size}: picked one that is no candidate any more")
            _require(chosen is not None or not candidates, f"of {size}: found none, though there are some")


def tried_ones_are_not_picked_again(factory: Factory) -> None:
    """Going through all of them one by one, as retries do, meets each exactly once."""
    for size in _SIZES:
        bench = Bench(factory, [1.0 + number % 3 for number in range(min(size, 100))])
        tried: tuple[Upstream, ...] = ()
        for left in range(len(bench.upstreams), 0, -1):
            chosen = bench.choose(tried)
            _require(chosen is not None, f"found none though {left} were not yet tried")
            assert chosen is not None
            _require(chosen not in tried, "picked one that was tried already")
            tried = (*tried, chosen)


def all_tried_gives_none_in_bounded_steps(factory: Factory) -> None:
    """No endless search for what is not there."""
    for size in _SIZES:
        bench = Bench(factory, [1.0 + number % 3 for number in range(size)])
        tried = tuple(bench.upstreams)
        chosen = _within(lambda: bench.choose(tried), 1000 + 100 * size)  # noqa: B023 - called at once
        _require(chosen is None, f"all {size} were tried, and yet something was picked")


def the_last_one_left_is_found(factory: Factory) -> None:
    """All but one tried: that one, wherever it stands."""
    for size in _SIZES[1:-1]:
        bench = Bench(factory, [1.0] * size)
        for last in bench.upstreams:
            tried = tuple(one for one in bench.upstreams if one is not last)
            _require(bench.choose(tried) is last, f"of {size}: did not find the last one left")


def equal_candidates_share_equally(factory: Factory) -> None:
    """Under load that is held: ties go in turn, not always to the first."""
    for size in (2, 3, 5, 16, 40):
        bench = Bench(factory, [1.0] * size)
        _require_shares(bench, bench.held(1000 * size), bench.upstreams)


def none_of_equal_candidates_starves(factory: Factory) -> None:
    """One request at a time: each candidate gets its turn."""
    for size in (2, 5, 16, 40):
        bench = Bench(factory, [1.0] * size)
        counts = bench.sequential(1000 * size)
        for one in bench.upstreams:
            _require(
                counts[one] > 500, f"of {size} equal ones, one got {counts[one]} of {1000 * size} requests"
            )


def load_follows_the_weights(factory: Factory) -> None:
    """Held requests are spread in proportion to the effective weights, fractions included."""
    for weights in ([1.0, 2.0, 3.0], [3.0, 1.0], [0.5, 1.0, 1.0], [1.0, 2.0] * 20):
        bench = Bench(factory, weights)
        picks = 30_000
        counts = bench.held(picks)
        for weight in set(weights):
            group = [one for one in bench.upstreams if one.effective_weight == weight]
            got = sum(counts[one] for one in group) / picks
            fair = weight * len(group) / sum(weights)
            _require(
                abs(got - fair) <= fair * bench.tolerance,
                f"weights {weights[:3]}: those of weight {weight} got {got:.3f} instead of {fair:.3f}",
            )


def an_ejected_one_leaves_the_others_their_weights(factory: Factory) -> None:
    """Weights live on the upstream, not on its position; a readmitted one gets its share again."""
    bench = Bench(factory, [1.0, 2.0, 3.0])
    for gone in bench.upstreams:
        candidates = bench.rebuild(without=[gone])
        counts = bench.held(12_000)
        _require(counts[gone] == 0, "picked the ejected one")
        _require_shares(bench, counts, candidates)
    bench.rebuild()
    _require_shares(bench, bench.held(12_000), bench.upstreams)


def a_changed_weight_counts_after_rebuild(factory: Factory) -> None:
    """A weight set on the upstream takes effect with the next `rebuild`."""
    bench = Bench(factory, [1.0, 1.0])
    bench.held(100)
    bench.upstreams[1].effective_weight = 3.0
    bench.rebuild()
    _require_shares(bench, bench.held(12_000), bench.upstreams)


def rebuild_in_use_loses_nothing(factory: Factory) -> None:
    """Attempts end at upstreams that are no candidates any more, and candidates come and go meanwhile."""
    bench = Bench(factory, [1.0] * 5)
    order = Random(_SEED)
    running: list[Upstream] = []
    candidates = bench.upstreams
    for turn in range(2000):
        if turn % 7 == 0:
            candidates = bench.rebuild(without=order.sample(bench.upstreams, order.randint(0, 4)))
        chosen = bench.choose()
        _require(chosen in candidates, "picked one that is no candidate after a rebuild in use")
        assert chosen is not None
        running.append(chosen)
        if len(running) > 20:
            bench.finish(running.pop(order.randrange(len(running))))
    for one in running:
        bench.finish(one)
    bench.rebuild()
    counts = bench.held(5000)
    for one in bench.upstreams:
        _require(counts[one] > 250, f"after all that, one of five equal ones got {counts[one]} of 5000")


def the_same_seed_gives_the_same_picks(factory: Factory) -> None:
    """Randomness comes from the generator that was handed in, and from nowhere else."""
    for size in (5, 40):
        runs = []
        for _ in range(2):
            bench = Bench(factory, [1.0, 2.0, 3.0, 4.0, 5.0] * (size // 5))
            picks = [bench.choose() for _ in range(300)]
            runs.append([one.id if one is not None else None for one in picks])
        _require(runs[0] == runs[1], "built twice with the same seed, it picked differently")


def every_outcome_is_taken(factory: Factory) -> None:
    """No outcome and no latency makes it fail, and none bars an upstream for good."""
    bench = Bench(factory, [1.0, 1.0])
    for outcome in Outcome:
        for latency in (0.0, 1e-9, 1.0, 1e5):
            for chosen in [bench.choose(), bench.choose()]:
                if chosen is not None:
                    bench.finish(chosen, latency, outcome)
    _require(len(bench.held(10_000)) == 2, "after failures, one of two gets nothing any more")


def upstreams_are_left_as_they_are(factory: Factory) -> None:
    """The core keeps inflight, and weights are no policy's to set; nor is the list of candidates."""
    bench = Bench(factory, [1.0, 2.5, 4.0])
    candidates = list(bench.upstreams)
    bench.policy.rebuild(candidates)
    bench.held(100)
    bench.sequential(100)
    _require(candidates == bench.upstreams, "the sequence of candidates was changed")
    state = [(one.inflight, one.effective_weight) for one in bench.upstreams]
    _require(state == [(0, 1.0), (0, 2.5), (0, 4.0)], f"inflight or weights were changed: {state}")


def a_key_stays_with_its_upstream(factory: Factory) -> None:
    """Where a key is asked for: it decides, as long as the candidates are the same and evenly loaded."""
    bench = Bench(factory, [1.0] * 5)
    if not bench.policy.needs_key:
        return
    keys = Random(_SEED)
    for _ in range(200):
        key = keys.getrandbits(64)
        first = bench.policy.pick(key, ())
        _require(bench.policy.pick(key, ()) is first, "picked another upstream for the same key")


CHECKS: tuple[Callable[[Factory], None], ...] = (
    no_candidates_give_none,
    a_single_candidate_is_picked,
    only_candidates_are_picked,
    tried_ones_are_not_picked_again,
    all_tried_gives_none_in_bounded_steps,
    the_last_one_left_is_found,
    equal_candidates_share_equally,
    none_of_equal_candidates_starves,
    load_follows_the_weights,
    an_ejected_one_leaves_the_others_their_weights,
    a_changed_weight_counts_after_rebuild,
    rebuild_in_use_loses_nothing,
    the_same_seed_gives_the_same_picks,
    every_outcome_is_taken,
    upstreams_are_left_as_they_are,
    a_key_stays_with_its_upstream,
)


def check_policy(factory: Factory) -> None:
    """Run every check. Raises NonConformance at the first that fails."""
    for check in CHECKS:
        check(factory)


# --- what the checks are made of


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise NonConformance(what)


def _require_shares(bench: Bench, counts: "Counter[Upstream]", candidates: Sequence[Upstream]) -> None:
    picks = counts.total()
    weights = sum(one.effective_weight for one in candidates)
    for one in candidates:
        got, weight = counts[one], one.effective_weight
        fair = picks * weight / weights
        _require(
            abs(got - fair) <= fair * bench.tolerance,
            f"of {len(candidates)}, one of weight {weight} got {got} instead of {fair:.0f}",
        )


def _within(call: Callable[[], Upstream | None], lines: int) -> Upstream | None:
    """The answer of `call`, which may execute no more than `lines` lines of Python."""
    left = lines

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise NonConformance(f"no answer within {lines} lines of code: an endless search?")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        return call()
    finally:
        sys.settrace(before)
