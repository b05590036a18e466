"""Checks of policies that go by a key: equal keys stay together, and few move when candidates change."""

from collections.abc import Callable
from math import ceil
from random import Random
from typing import Final

from balancer.policies.base import Factory, Policy
from balancer.policies.conformance.bench import SEED, Bench, require
from balancer.upstreams.upstream import Upstream

_KEYS: Final = 5000


def a_key_stays_with_its_upstream(factory: Factory) -> None:
    """Where a key is asked for: it decides, as long as the candidates are the same and evenly loaded."""
    bench = Bench(factory, [1.0] * 5)
    if not bench.policy.needs_key:
        return
    keys = Random(SEED)
    for _ in range(200):
        key = keys.getrandbits(64)
        first = bench.policy.pick(key, ())
        require(bench.policy.pick(key, ()) is first, "picked another upstream for the same key")


def a_newcomer_takes_only_its_share_of_the_keys(factory: Factory) -> None:
    """Where one joins, about 1 / N of the keys move, all of them to it; they come back when it goes."""
    for size in (2, 5, 10, 50):
        bench = Bench(factory, [1.0] * size)
        if not bench.policy.needs_key:
            return
        newcomer = bench.upstreams[size // 2]
        bench.rebuild(without=[newcomer])
        before = _owners(bench.policy)
        bench.rebuild()
        after = _owners(bench.policy)
        moved = [new for old, new in zip(before, after, strict=True) if new is not old]
        share = len(moved) / _KEYS
        require(set(moved) <= {newcomer}, f"of {size}, keys moved between two existing upstreams")
        require(0.5 / size <= share <= 1.7 / size, f"a {size}th upstream took {share:.3f} of the keys")
        bench.rebuild(without=[newcomer])
        require(
            _owners(bench.policy) == before,
            f"of {size}, keys did not return after the new upstream was removed",
        )


def a_changed_weight_moves_only_its_own_keys(factory: Factory) -> None:
    """A slow start takes keys from the others step by step, and gives none of them to a third one."""
    bench = Bench(factory, [1.0] * 10)
    if not bench.policy.needs_key:
        return
    slow = bench.upstreams[3]
    before: list[Upstream | None] = []
    for step in range(1, 11):
        slow.effective_weight = step / 10
        bench.rebuild()
        after = _owners(bench.policy)
        moved = {new for old, new in zip(before or after, after, strict=True) if new is not old}
        require(
            moved <= {slow},
            f"at a weight of {slow.effective_weight}, keys moved to an upstream that had not changed",
        )
        before = after


def the_order_of_candidates_does_not_matter(factory: Factory) -> None:
    """Two workers whose lists differ in order, or which came to them by another way, agree on every key."""
    bench, other = Bench(factory, [1.0, 2.0, 3.0] * 4), Bench(factory, [1.0, 2.0, 3.0] * 4, seed=1, slot=3)
    if not bench.policy.needs_key:
        return
    other.rebuild(without=other.upstreams[2:7])
    other.policy.rebuild(other.upstreams[::-1])
    ids = [[one and one.id for one in _owners(each.policy)] for each in (bench, other)]
    require(
        ids[0] == ids[1],
        "built twice with the same candidates in another order, it maps keys to other upstreams",
    )


def a_bound_on_load_is_kept(factory: Factory) -> None:
    """Where the policy has a `bounded_load` of c: none gets more than c times its share, rounded up.

    Even if all requests have one key; and as long as there is room, the key's own upstream is taken.
    """
    for weights in ([1.0] * 5, [1.0, 2.0, 3.0], [0.5, 1.0] * 20):
        for one_key in (True, False):
            bench = Bench(factory, weights)
            bound = getattr(bench.policy, "bounded_load", 0.0)
            if not bound:
                return
            key, order, running = bench.key(), Random(SEED), 0
            own = bench.policy.pick(key, ())
            for turn in range(3000):
                chosen = bench.start(key if one_key else bench.key())
                assert chosen is not None
                running += 1
                most = ceil(bound * running * chosen.effective_weight / sum(weights) - 1e-9)
                require(
                    chosen.inflight <= most,
                    f"{chosen.inflight} in flight at an upstream that may have {most}",
                )
                while running > 0 and order.random() < (0.4 if turn < 2000 else 0.6):
                    bench.finish(order.choice([one for one in bench.upstreams if one.inflight]))
                    running -= 1
            for one in bench.upstreams:
                while one.inflight:
                    bench.finish(one)
            require(
                bench.policy.pick(key, ()) is own,
                "with nothing in flight, a key does not go to its own upstream",
            )


def _owners(policy: Policy) -> list[Upstream | None]:
    keys = Random(SEED)
    return [policy.pick(keys.getrandbits(64), ()) for _ in range(_KEYS)]


CHECKS: Final[tuple[Callable[[Factory], None], ...]] = (
    a_key_stays_with_its_upstream,
    a_newcomer_takes_only_its_share_of_the_keys,
    a_changed_weight_moves_only_its_own_keys,
    the_order_of_candidates_does_not_matter,
    a_bound_on_load_is_kept,
)
