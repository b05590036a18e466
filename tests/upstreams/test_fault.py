"""What a failed attempt proves, which addresses are one client, and which consecutive faults count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import Outcome
from balancer.upstreams.fault import Fault, Proof, Run, client_network, proof

# (answered by another upstream, number of upstreams tried, the client had sent all) -> proof
PROOFS = {
    "another one answered": (True, 2, True, Proof.SURE),
    "another one answered, but the client had still been sending": (True, 2, False, Proof.UNTRIED),
    "it was sent nowhere else": (False, 1, True, Proof.UNTRIED),
    "two failed": (False, 2, True, Proof.ALIKE),
    "all failed": (False, 3, False, Proof.ALIKE),
}


@pytest.mark.parametrize("case", PROOFS)
def test_what_an_exchange_proves_about_a_failure(case: str) -> None:
    answered, sent_to, whole, expected = PROOFS[case]
    assert proof(answered=answered, sent_to=sent_to, whole=whole) is expected


CLIENTS = {
    "203.0.113.7": "203.0.113.7",
    "::ffff:203.0.113.7": "203.0.113.7",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "2001:db8:1:2::9": "2001:db8:1:2::/64",
    "2001:db8:1:3::9": "2001:db8:1:3::/64",
    "fe80::1%eth0": "fe80::/64",
    "unix:": "unix:",
    "": "",
}


@pytest.mark.parametrize("address", CLIENTS)
def test_an_ipv4_address_or_an_ipv6_64_is_one_client(address: str) -> None:
    assert client_network(address) == CLIENTS[address]


def fault(code: str) -> Fault:
    """`+` sure, `?` untried; upper case: the client `a`, `b`, ... is held to its upstream."""
    kind, client = code[0], code[1]
    proven = Proof.SURE if kind == "+" else Proof.UNTRIED
    return Fault(Outcome.FAILED, proven, client.lower(), client.isupper())


# Consecutive faults, five of which are too many: how many are sure, how many are doubtful, and whether there
# was a second client.
RUNS = {
    "none": ("", 0, 0, False),
    "one client, answered elsewhere": ("+a +a +a", 3, 0, False),
    "two clients, answered elsewhere": ("+a +b", 2, 0, True),
    "untried": ("?a ?a", 0, 2, False),
    "untried, two clients": ("?a ?b ?a", 0, 3, True),
    "a held client counts once": ("+A +A +A", 1, 2, False),
    "each held client counts once": ("+A +B +A +B +C", 3, 2, False),
    "held untried clients are never a second one": ("?A ?B ?C", 0, 3, False),
    "held and free": ("?A ?b +a", 1, 2, True),
    "more than five held clients": ("+A +B +C +D +E +F +G", 5, 2, False),
}


@pytest.mark.parametrize("case", RUNS)
def test_which_consecutive_faults_make_a_suspect(case: str) -> None:
    codes, sure, doubtful, second = RUNS[case]
    run = Run()
    for code in codes.split():
        run.add(fault(code), 5)
    assert (run.sure, run.doubtful, run.has_second) == (sure, doubtful, second)
    run.begin_anew()
    assert (run.length, run.has_second) == (0, False)


def test_connect_failures_do_not_count_clients() -> None:
    run = Run()
    for _ in range(3):
        run.add(Fault(Outcome.CONNECT_FAILED), 5)
    run.add(fault("?a"), 5)
    assert (run.sure, run.doubtful, run.has_second) == (3, 1, False)


FAULTS = st.lists(
    st.builds(
        Fault,
        st.just(Outcome.FAILED),
        st.sampled_from([Proof.SURE, Proof.UNTRIED]),
        st.sampled_from([f"203.0.113.{number}" for number in range(20)]),
        st.booleans(),
    ),
    max_size=60,
)


@given(FAULTS, st.integers(1, 8))
def test_fault_counts_hold_in_any_order(faults: list[Fault], most: int) -> None:
    """Each fault counts once, a client held to its upstream is sure at most once, and memory is bounded."""
    run = Run()
    for one in faults:
        run.add(one, most)
    assert run.length == len(faults)
    free = [one for one in faults if not one.held]
    held = {one.client for one in faults if one.held and one.proof is Proof.SURE}
    sure = sum(one.proof is Proof.SURE for one in free) + min(most, len(held))
    assert run.sure == sure
    assert run.has_second is (len({one.client for one in free}) > 1)
    assert len(run._holders) <= most
