"""Registered upstreams: renewed by being registered again, dropped when that stops, and nobody else's."""

import pytest

from balancer.admin.view import RefusedError
from balancer.runtime.additions import MOST_REGISTERED, register
from balancer.runtime.operator import Operator
from balancer.runtime.states import UpstreamState
from tests.fakes.splits import operator as operator_of
from tests.runtime.fleet_harness import DNS, Harness, member

ID = "10.0.0.9:8000"


@pytest.fixture
def operator(harness: Harness) -> Operator:
    return operator_of(harness.fleet)


def pass_time(harness: Harness, seconds: float) -> None:
    """Move the clock, and run what is due by then."""
    harness.clock.advance(seconds)
    harness.told()


def upstream(harness: Harness) -> UpstreamState | None:
    return harness.pool.upstreams.get(ID)


def test_a_registered_upstream_is_dropped_when_its_time_is_over(
    harness: Harness, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert register(harness.fleet, "default", ID, 30, by_app=True) == (ID, True)
    found = upstream(harness)
    assert found is not None
    assert (found.source, found.address) == ("registered", "10.0.0.9")
    pass_time(harness, 29.9)
    assert upstream(harness) is found
    pass_time(harness, 0.1)
    assert upstream(harness) is None
    assert [(kind, one) for kind, one, _ in harness.kinds()] == [("added", ID), ("removed", ID)]
    assert caplog.messages == [
        f"upstream {ID} of pool default added: it has registered itself",
        f"upstream {ID} of pool default removed: its registration has expired",
    ]


def test_registering_again_prolongs_it_and_changes_nothing_else(harness: Harness, operator: Operator) -> None:
    register(harness.fleet, "default", ID, 30, by_app=True)
    found = upstream(harness)
    assert found is not None
    harness.fleet.set_weight(found, 7)
    for _ in range(5):
        pass_time(harness, 20)
        assert register(harness.fleet, "default", ID, 30, by_app=True) == (ID, False)
        assert upstream(harness) is found
    assert found.weight == 7
    pass_time(harness, 30)
    assert upstream(harness) is None


def test_a_shorter_time_counts_too(harness: Harness, operator: Operator) -> None:
    register(harness.fleet, "default", ID, 3600, by_app=True)
    register(harness.fleet, "default", ID, 1, by_app=True)
    pass_time(harness, 1)
    assert upstream(harness) is None


def test_renewals_leave_no_timer_behind_each(harness: Harness, operator: Operator) -> None:
    harness.told()
    for _ in range(1000):
        register(harness.fleet, "default", ID, 30, by_app=True)
        harness.clock.advance(0.001)
    assert len(harness.delays) <= 2  # and one that tells the workers


def test_other_options_make_a_new_upstream(harness: Harness, operator: Operator) -> None:
    register(harness.fleet, "default", ID, 30, by_app=True)
    before = upstream(harness)
    assert register(harness.fleet, "default", f"{ID}?weight=5", 30, by_app=True) == (ID, True)
    after = upstream(harness)
    assert after is not None
    assert (after is before, after.weight) == (False, 5)
    pass_time(harness, 30)
    assert upstream(harness) is None


def test_one_removed_by_an_operator_does_not_expire_a_later_one(harness: Harness, operator: Operator) -> None:
    register(harness.fleet, "default", ID, 30, by_app=True)
    operator.remove("default", ID, "me")
    operator.add("default", ID, "me")
    pass_time(harness, 60)
    assert upstream(harness) is not None


def test_one_that_expires_takes_the_operators_state_with_it_and_is_not_exported(
    harness: Harness, operator: Operator
) -> None:
    register(harness.fleet, "default", ID, 30, by_app=True)
    assert operator.live_changes() == []
    register(harness.fleet, "default", "10.0.0.8:8000", 30, by_app=False)
    assert operator.live_changes() == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("app1:8000", "'app1:8000' has no IP address; names can be used only in", id="name"),
        pytest.param("unix:/run/docker.sock", "is a unix socket; an app registers its IP address", id="unix"),
        pytest.param("10.1.0.1:8000", f"10.1.0.1:8000 comes from {DNS}, and stays without", id="found"),
        pytest.param("10.0.0.7:8000", "10.0.0.7:8000 was added by an operator, and stays", id="added"),
        pytest.param("10.0.0.6:8000", "10.0.0.6:8000 was added by an operator, and stays", id="for_a_time"),
    ],
)
def test_what_is_not_the_apps_is_refused(
    harness: Harness, operator: Operator, text: str, problem: str
) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    operator.add("default", "10.0.0.7:8000", "me")
    register(harness.fleet, "default", "10.0.0.6:8000", 30, by_app=False)
    with pytest.raises(RefusedError, match=problem.replace("?", "[?]")):
        register(harness.fleet, "default", text, 30, by_app=True)


def test_an_operator_may_prolong_and_remove_what_an_app_has_registered(
    harness: Harness, operator: Operator
) -> None:
    register(harness.fleet, "default", ID, 30, by_app=True)
    assert register(harness.fleet, "default", ID, 60, by_app=False) == (ID, False)
    found = upstream(harness)
    assert found is not None
    assert found.source == "registered"
    operator.remove("default", ID, "me")
    assert upstream(harness) is None


def test_the_number_of_registered_upstreams_is_limited(
    harness: Harness, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_REGISTERED == 1000
    monkeypatch.setattr("balancer.runtime.additions.MOST_REGISTERED", 2)
    register(harness.fleet, "default", "10.0.0.1:1", 30, by_app=True)
    register(harness.fleet, "default", "10.0.0.1:2", 30, by_app=True)
    with pytest.raises(RefusedError, match="has 2 registered upstreams; DELETE some"):
        register(harness.fleet, "default", "10.0.0.1:3", 30, by_app=True)
    register(harness.fleet, "default", "10.0.0.1:2", 30, by_app=True)
