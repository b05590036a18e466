"""Checks that are made otherwise from now on: what was found stays."""

import pytest

from balancer.spec.part import replaced
from tests.health.harness import ERROR, HANG, OK, SETTINGS, FakeUpstream, Harness


def started(harness: Harness) -> FakeUpstream:
    (upstream,) = harness.add("app1", interval=60.0)
    harness.checks.start()
    harness.run(1)
    return upstream


def reopen(harness: Harness) -> None:
    """The probe that was closed is used again: the harness has one for each upstream."""
    harness.run(0.0)
    harness.probes["app1"].closed = False


def test_the_next_check_is_by_the_new_settings_and_counts_go_on() -> None:
    harness = Harness()
    upstream = started(harness)
    harness.checks.change(upstream, replaced(SETTINGS, interval=1.0))
    assert harness.checks.last(upstream) is not None
    assert harness.checks.counts(upstream) == {"passed": 1}
    reopen(harness)
    harness.run(1.1)
    assert harness.checks.counts(upstream) == {"passed": 2}
    assert harness.told == ["app1 checked"]
    harness.close()


def test_failures_in_a_row_are_counted_anew_as_other_rules_hold() -> None:
    harness = Harness()
    upstream = started(harness)
    harness.probes["app1"].always = ERROR
    harness.checks.check_now(upstream, lambda result: None)
    harness.run(0.2)
    harness.checks.change(upstream, replaced(SETTINGS, interval=1.0))
    reopen(harness)
    harness.run(1.1)
    assert harness.told == ["app1 checked"]
    harness.run(1.0)
    assert harness.told == ["app1 checked", "app1 failing"]
    harness.close()


def test_one_that_fails_stays_so_until_it_passes() -> None:
    harness = Harness()
    upstream = started(harness)
    harness.probes["app1"].always = ERROR
    for _ in range(2):
        harness.checks.check_now(upstream, lambda result: None)
        harness.run(0.2)
    harness.checks.change(upstream, replaced(SETTINGS, interval=1.0, rise=1, fall=9))
    reopen(harness)
    harness.probes["app1"].always = OK
    harness.run(1.1)
    assert harness.told == ["app1 checked", "app1 failing", "app1 passing"]
    harness.close()


def test_one_that_was_not_checked_is_checked_at_once() -> None:
    harness = Harness()
    harness.checks.start()
    harness.checks.change(FakeUpstream("app1"), SETTINGS)
    harness.run(0.1)
    assert len(harness.probes["app1"].asked) == 1
    harness.close()


@pytest.mark.parametrize("first", [True, False], ids=["the first one", "a later one"])
def test_a_check_that_runs_is_given_up_and_says_nothing(first: bool) -> None:
    harness = Harness()
    if first:
        harness.probes["app1"].always = HANG
        (upstream,) = harness.add("app1")
        harness.checks.start()
        harness.run(0.1)
    else:
        upstream = started(harness)
        harness.probes["app1"].always = HANG
        harness.checks.check_now(upstream, lambda result: None)
        harness.run(0.2)
    told = list(harness.told)
    harness.checks.change(upstream, replaced(SETTINGS, interval=30.0))
    harness.run(3.0)
    assert harness.told == told
    assert harness.checks.first_round_done
    reopen(harness)
    harness.close()
