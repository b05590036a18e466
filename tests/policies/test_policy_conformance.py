"""Every registered policy passes the conformance suite; and the suite finds the faults of bad ones."""

from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from typing import Any, ClassVar

import pytest

from balancer.policies import registry
from balancer.policies.base import Factory, Policy, PolicyContext
from balancer.policies.conformance import CHECKS, NonConformance, check_policy
from balancer.upstreams.upstream import Upstream

Check = Callable[[Factory], None]
BY_NAME: dict[str, Check] = {str(check.__name__): check for check in CHECKS}

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in registry.names()),
    ("consistent_hash", {"bounded_load": 1.05}),
    ("consistent_hash", {"bounded_load": 1.25}),
    ("peak_ewma", {"decay": 0.5}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
@pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=["-".join([name, *map(str, o.values())]) for name, o in VARIANTS]
)
def test_registered_policies_conform(name: str, options: dict[str, Any], check: Check) -> None:
    check(lambda context: registry.build(name, options, context))


class FirstUntried(Policy):
    """The base of the bad ones: always picks the first untried."""

    __slots__ = ("candidates",)

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self.candidates: list[Upstream] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = list(candidates)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        return next((one for one in self.candidates if one not in tried), None)


class Forgetful(FirstUntried):
    """Ignores `tried`."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        return self.candidates[0] if self.candidates else None


class Endless(FirstUntried):
    """Searches without end until it finds an untried one."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        for one in cycle(self.candidates):
            if one not in tried:
                return one
        return None


class Pairing(FirstUntried):
    """Draws without end until it has two untried ones."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        found: set[Upstream] = set()
        for one in cycle(self.candidates):
            if one not in tried:
                found.add(one)
            if len(found) == 2:
                return one
        return None


class Clinging(FirstUntried):
    """Keeps its former candidates."""

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates += [one for one in candidates if one not in self.candidates]


class Unweighted(FirstUntried):
    """In turn, whatever the weights."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.candidates = [*self.candidates[1:], *self.candidates[:1]]
        return super().pick(key, tried)


class SelfSeeded(FirstUntried):
    """Has its own randomness."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        Random().shuffle(self.candidates)
        return super().pick(key, tried)


class Meddling(FirstUntried):
    """Counts what the core counts."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        chosen = super().pick(key, tried)
        if chosen is not None:
            chosen.inflight += 1
        return chosen


class Fickle(FirstUntried):
    """Asks for a key and ignores it."""

    needs_key: ClassVar[bool] = True

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.candidates = [*self.candidates[1:], *self.candidates[:1]]
        return super().pick(key, tried)


class Positional(FirstUntried):
    """Remembers the weights by position."""

    __slots__ = ("turn", "weights")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self.weights: list[int] = []
        self.turn = 0

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        super().rebuild(candidates)
        if len(candidates) > len(self.weights):
            self.weights = [max(1, int(one.effective_weight)) for one in candidates]

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        turns = [one for one, n in zip(self.candidates, self.weights, strict=False) for _ in range(n)]
        for _ in turns:
            self.turn += 1
            if (one := turns[self.turn % len(turns)]) not in tried:
                return one
        return None


class Modulo(FirstUntried):
    """Uses the key modulo the size: nearly all keys move when an upstream is added."""

    needs_key: ClassVar[bool] = True

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        left = [one for one in self.candidates if one not in tried]
        return left[key % len(left)] if left else None


class WeightedModulo(Modulo):
    """The same, with each upstream repeated by its weight."""

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = [one for one in candidates for _ in range(round(10 * one.effective_weight))]


class Scanning(FirstUntried):
    """Examines every candidate."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        best = None
        for one in self.candidates:
            if one not in tried and (best is None or one.inflight < best.inflight):
                best = one
        return best


class Lopsided(FirstUntried):
    """Random, but the first one somewhat more often."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        left = [one for one in self.candidates if one not in tried]
        place = self.context.random.random() ** 1.1 if left else 0.0
        return left[int(place * len(left))] if left else None


class Unbounded(Modulo):
    """Has a bound and exceeds it."""

    bounded_load = 1.25


class Ramping(FirstUntried):
    """In turn, but never picks an upstream of lower weight."""

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        most = max((one.effective_weight for one in candidates), default=0.0)
        self.candidates = [one for one in candidates if one.effective_weight == most]

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.candidates = [*self.candidates[1:], *self.candidates[:1]]
        return super().pick(key, tried)


BAD: list[tuple[type[Policy], str]] = [
    (Forgetful, "tried_ones_are_not_picked_again"),
    (Forgetful, "the_last_one_left_is_found"),
    (Endless, "all_tried_gives_none_in_bounded_steps"),
    (Pairing, "a_single_candidate_is_picked"),
    (Pairing, "tried_ones_are_not_picked_again"),
    (Pairing, "the_last_one_left_is_found"),
    (Clinging, "only_candidates_are_picked"),
    (Clinging, "no_candidates_give_none"),
    (FirstUntried, "equal_candidates_share_equally"),
    (FirstUntried, "none_of_equal_candidates_starves"),
    (Unweighted, "load_follows_the_weights"),
    (Positional, "an_ejected_one_leaves_the_others_their_weights"),
    (Lopsided, "chance_is_even"),
    (Ramping, "a_slow_start_gets_its_ramp"),
    (Unweighted, "a_slow_start_gets_its_ramp"),
    (SelfSeeded, "the_same_seed_gives_the_same_picks"),
    (Meddling, "upstreams_are_left_as_they_are"),
    (Fickle, "a_key_stays_with_its_upstream"),
    (Modulo, "a_newcomer_takes_only_its_share_of_the_keys"),
    (WeightedModulo, "a_changed_weight_moves_only_its_own_keys"),
    (Modulo, "the_order_of_candidates_does_not_matter"),
    (Unbounded, "a_bound_on_load_is_kept"),
    (Scanning, "a_pick_costs_the_same_among_many"),
]


@pytest.mark.parametrize(("policy", "check"), BAD, ids=[f"{p.__name__}-{name}" for p, name in BAD])
def test_the_suite_finds_each_fault(policy: type[Policy], check: str) -> None:
    with pytest.raises(NonConformance):
        BY_NAME[check](policy)


def test_check_policy_runs_every_check() -> None:
    check_policy(registry.BUILT_IN["round_robin"])
    check_policy(registry.BUILT_IN["consistent_hash"], bounded_load=1.5)
    with pytest.raises(NonConformance):
        check_policy(FirstUntried)
