"""Every registered policy keeps to the conformance suite; and the suite finds what is wrong with bad ones."""

from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from typing import ClassVar

import pytest

from balancer.errors import SettingsError
from balancer.policies import conformance, registry
from balancer.policies.base import Policy
from balancer.policies.conformance import CHECKS, NonConformance, check_policy
from balancer.policies.registry import Factory, PolicyContext
from balancer.upstreams.upstream import Upstream


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
@pytest.mark.parametrize("name", registry.names())
def test_registered_policy(name: str, check: Callable[[Factory], None]) -> None:
    check(lambda context: registry.build(name, {}, context))


class FirstUntried(Policy):
    """The base of the bad ones: always the first that was not tried."""

    __slots__ = ("candidates",)

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = list(candidates)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        return next((one for one in self.candidates if one not in tried), None)


class Forgetful(FirstUntried):
    """Takes no notice of `tried`."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        return self.candidates[0] if self.candidates else None


class Endless(FirstUntried):
    """Searches until it finds one."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        for one in cycle(self.candidates):
            if one not in tried:
                return one
        return None


class Clinging(FirstUntried):
    """Keeps the candidates it had."""

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        known = self.candidates if hasattr(self, "candidates") else []
        self.candidates = [*known, *(one for one in candidates if one not in known)]


class Unweighted(FirstUntried):
    """In turn, whatever the weights."""

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.candidates = [*self.candidates[1:], *self.candidates[:1]]
        return super().pick(key, tried)


class SelfSeeded(FirstUntried):
    """Chance of its own."""

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
    """Asks for a key and does not heed it."""

    needs_key: ClassVar[bool] = True

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.candidates = [*self.candidates[1:], *self.candidates[:1]]
        return super().pick(key, tried)


class Positional(FirstUntried):
    """Remembers the weights by position."""

    __slots__ = ("turn", "weights")

    def __init__(self) -> None:
        self.weights: list[int] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        super().rebuild(candidates)
        if len(candidates) > len(self.weights):
            self.weights = [max(1, int(one.effective_weight)) for one in candidates]
        self.turn = 0

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        turns = [one for one, n in zip(self.candidates, self.weights, strict=False) for _ in range(n)]
        for _ in turns:
            self.turn += 1
            if (one := turns[self.turn % len(turns)]) not in tried:
                return one
        return None


BAD = [
    (Forgetful, conformance.tried_ones_are_not_picked_again),
    (Forgetful, conformance.the_last_one_left_is_found),
    (Endless, conformance.all_tried_gives_none_in_bounded_steps),
    (Clinging, conformance.only_candidates_are_picked),
    (Clinging, conformance.no_candidates_give_none),
    (FirstUntried, conformance.equal_candidates_share_equally),
    (FirstUntried, conformance.none_of_equal_candidates_starves),
    (Unweighted, conformance.load_follows_the_weights),
    (Positional, conformance.an_ejected_one_leaves_the_others_their_weights),
    (SelfSeeded, conformance.the_same_seed_gives_the_same_picks),
    (Meddling, conformance.upstreams_are_left_as_they_are),
    (Fickle, conformance.a_key_stays_with_its_upstream),
]


@pytest.mark.parametrize(("policy", "check"), BAD, ids=[f"{p.__name__}-{c.__name__}" for p, c in BAD])
def test_the_suite_finds(policy: type[Policy], check: Callable[[Factory], None]) -> None:
    with pytest.raises(NonConformance):
        check(lambda context: policy())


def test_check_policy_runs_every_check() -> None:
    check_policy(lambda context: registry.build("round_robin", {}, context))
    with pytest.raises(NonConformance):
        check_policy(lambda context: FirstUntried())


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        pytest.param("round_robin", {}, None, id="good"),
        pytest.param(
            "round_robbin", {}, ("policy", "is not a policy; did you mean round_robin?"), id="near_a_name"
        ),
        pytest.param(
            "fair", {}, ("policy", "is not a policy; write least_connections or round_robin"), id="unknown"
        ),
        pytest.param(
            "round_robin",
            {"spin": 1},
            ("policy_options", "is more than round_robin takes, which has no options; remove it"),
            id="options_nobody_takes",
        ),
    ],
)
def test_what_is_wrong_with_a_choice(
    name: str, options: dict[str, int], problem: tuple[str, str] | None
) -> None:
    assert registry.problem(name, options) == problem


def test_a_wrong_choice_is_not_built() -> None:
    with pytest.raises(SettingsError, match="policy: fair is not a policy"):
        registry.build("fair", {}, PolicyContext(Random(1), 0))


@pytest.mark.parametrize("name", registry.names())
def test_every_policy_says_what_it_does(name: str) -> None:
    assert registry.summary(name)
