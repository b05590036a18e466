"""consistent_hash and ip_hash: where keys go, which keys move, and what a rebuild reuses."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from balancer.errors import Outcome
from balancer.policies.conformance import upstream
from balancer.policies.consistent_hash import BoundedConsistentHash, ConsistentHash, consistent_hash
from balancer.policies.ip_hash import IpHash
from balancer.policies.ring import MOST_POINTS, POINTS, SLOT_MASK, Ring
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context

_random = Random(3)
KEYS = [_random.getrandbits(64) for _ in range(4000)]


def made(count: int, weight: float = 1.0) -> list[Upstream]:
    return [upstream(number, weight) for number in range(count)]


def owners(policy: ConsistentHash) -> list[str]:
    return [one.id for key in KEYS if (one := policy.pick(key, ())) is not None]


def test_keys_map_to_the_same_upstream_in_every_process_and_version() -> None:
    """Pinned values: with a change here most clients would change upstreams on an upgrade."""
    policy = ConsistentHash(context())
    policy.rebuild(made(5))
    keys = [0, 1 << 60, 1 << 61, 1 << 62, 1 << 63, (1 << 64) - 1]
    picked = [one.id for key in keys if (one := policy.pick(key, ())) is not None]
    assert picked == [f"app{number}:8000" for number in (2, 4, 4, 3, 3, 2)]


def test_only_the_id_matters_not_the_address() -> None:
    """A name with a new address keeps its keys."""
    policy, upstreams = ConsistentHash(context()), made(5)
    policy.rebuild(upstreams)
    before = owners(policy)
    for one in upstreams:
        one.set_host("192.0.2.1")
    policy.rebuild(upstreams)
    assert owners(policy) == before


def test_keys_of_an_ejected_upstream_are_spread_over_all_others() -> None:
    policy, upstreams = ConsistentHash(context()), made(5)
    policy.rebuild(upstreams)
    before = owners(policy)
    policy.rebuild(upstreams[1:])
    heirs = Counter(new for old, new in zip(before, owners(policy), strict=True) if old == upstreams[0].id)
    assert len(heirs) == 4
    assert min(heirs.values()) > heirs.total() / 4 / 2


def test_a_retry_of_a_key_goes_to_the_same_second_choice() -> None:
    policy, upstreams = ConsistentHash(context()), made(5)
    policy.rebuild(upstreams)
    for key in KEYS[:200]:
        first = policy.pick(key, ())
        assert first is not None
        second = policy.pick(key, (first,))
        policy.rebuild([one for one in upstreams if one is not first])
        assert policy.pick(key, ()) is second  # the upstream that also gets its keys if it is ejected
        policy.rebuild(upstreams)


def test_equal_weights_share_equally_whatever_their_size() -> None:
    for weight in (1.0, 100.0):
        policy = ConsistentHash(context())
        policy.rebuild(made(4, weight))
        assert min(Counter(owners(policy)).values()) > len(KEYS) / 4 * 0.7


CHANGES: dict[str, Callable[[list[Upstream]], list[Upstream]]] = {
    "one ejected": lambda all: all[1:],
    "another order": lambda all: all[::-1],
    "half of them ejected": lambda all: all[::2],
    "none left": lambda all: [],
    "a newcomer": lambda all: [*all, upstream(77)],
    "one for another": lambda all: [*all[:7], upstream(78), *all[8:]],
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_ring_equals_a_new_one(case: str) -> None:
    upstreams = [upstream(number, 1 + number % 3) for number in range(20)]
    changed, fresh = Ring(), Ring()
    changed.rebuild(upstreams)
    for one in upstreams[3:6]:
        one.effective_weight /= 2
    after = CHANGES[case](upstreams)
    changed.rebuild(after)
    fresh.rebuild(after)
    assert layout(changed) == layout(fresh)
    changed.rebuild(upstreams)
    assert Counter(name for _, name in layout(changed)).total() == len(changed.points)


def layout(ring: Ring) -> list[tuple[int, str]]:
    return [(int(point) & ~SLOT_MASK, ring.owners[int(point) & SLOT_MASK].id) for point in ring.points]


def test_points_are_proportional_to_weights() -> None:
    ring = Ring()
    ring.rebuild([upstream(0, 1.0), upstream(1, 2.5), upstream(2, 0.001)])
    counts = Counter(name for _, name in layout(ring))
    assert [counts[f"app{n}:8000"] for n in range(3)] == [POINTS, POINTS * 5 // 2, 1]


def test_points_are_bounded_and_weights_hold() -> None:
    upstreams = [upstream(number, 1000.0 if number % 2 else 500.0) for number in range(20)]
    ring = Ring()
    ring.rebuild(upstreams)
    counts = Counter(name for _, name in layout(ring))
    assert len(ring.points) == pytest.approx(MOST_POINTS, rel=0.01)
    assert counts[upstreams[1].id] == pytest.approx(2 * counts[upstreams[0].id], rel=0.01)


def test_above_the_bound_an_ejection_moves_at_most_twice_the_keys() -> None:
    policy, upstreams = ConsistentHash(context()), made(20, 1000.0)
    policy.rebuild(upstreams)
    before = owners(policy)
    policy.rebuild(upstreams[1:])
    moved = sum(old != new for old, new in zip(before, owners(policy), strict=True))
    assert moved / len(KEYS) < 2.5 / 20


@pytest.mark.parametrize("bounded_load", [1.05, 1.25, 2.0])
def test_a_hot_key_is_spread_as_far_as_the_bound_says(bounded_load: float) -> None:
    policy, upstreams = consistent_hash(context(), bounded_load=bounded_load), made(10)
    policy.rebuild(upstreams)
    for _ in range(1000):
        take(policy, KEYS[0])
    assert max(one.inflight for one in upstreams) == pytest.approx(bounded_load * 100, abs=2)


def test_a_full_upstream_is_left_for_the_same_second_choice() -> None:
    policy, upstreams = BoundedConsistentHash(context(), 1.25), made(5)
    policy.rebuild(upstreams)
    plain = ConsistentHash(context())
    plain.rebuild(upstreams)
    for key in KEYS[:100]:
        first = plain.pick(key, ())
        assert first is not None
        first.inflight += 20
        policy.rebuild(upstreams)
        assert policy.pick(key, ()) is plain.pick(key, (first,))
        first.inflight -= 20


def test_requests_at_an_ejected_upstream_do_not_raise_the_bound_of_the_others() -> None:
    policy, upstreams = BoundedConsistentHash(context(), 1.5), made(3)
    upstreams[0].inflight = 1000
    policy.rebuild(upstreams[1:])
    for _ in range(100):
        take(policy, KEYS[0])
    assert max(one.inflight for one in upstreams[1:]) == 75
    upstreams[0].inflight -= 1
    policy.finished(upstreams[0], 0.01, Outcome.SUCCESS)
    take(policy, KEYS[0])
    assert max(one.inflight for one in upstreams[1:]) <= 76


def take(policy: ConsistentHash, key: int) -> None:
    chosen = policy.pick(key, ())
    assert chosen is not None
    policy.started(chosen)
    chosen.inflight += 1


@pytest.mark.parametrize("bounded_load", [1.0, 0.5, -1.25])
def test_an_invalid_bound_is_refused(bounded_load: float) -> None:
    with pytest.raises(ValueError, match=f"bounded_load is {bounded_load:g}; write 0 for none"):
        consistent_hash(context(), bounded_load=bounded_load)


def test_ip_hash_uses_the_client_address() -> None:
    assert (IpHash.needs_key, IpHash.key_source, ConsistentHash.key_source) == (True, "client_ip", None)
