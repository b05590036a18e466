"""How an upstream's limit follows its capacity, is removed, and is passed on to new upstreams."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from balancer.telemetry.columns import HISTOGRAM_CELLS
from tests.limits.watched import Watched, held, in_trial

# --- a limit that follows


def test_a_limit_settles_at_the_requests_worked_on_plus_headroom() -> None:
    assert held().full(3.0)[-1] == 7


@pytest.mark.parametrize(
    ("rate", "to"),
    [
        pytest.param(400, range(11, 15), id="twice the throughput"),
        pytest.param(100, range(3, 6), id="half the throughput"),
    ],
)
def test_a_limit_follows_the_throughput_of_the_upstream(rate: int, to: range) -> None:
    watched = held()
    limits = watched.full(3.0, rate=lambda _: rate)
    assert limits[-1] in to


@pytest.mark.parametrize(
    ("least", "most", "stays_at"),
    [pytest.param(20, 1000, 20, id="least"), pytest.param(1, 5, 5, id="most")],
)
def test_a_limit_stays_within_its_bounds(least: int, most: int, stays_at: int) -> None:
    watched = Watched(least, most)
    limits = [watched.overloaded(), *watched.full(3.0)]
    assert all(least <= limit <= most for limit in limits)
    assert limits[-1] == stays_at
    limits = watched.full(30.0, rate=lambda limit: limit / 0.1)
    assert all(least <= limit <= most for limit in limits)


def test_a_step_down_that_costs_answers_is_reverted_and_the_service_time_is_learned() -> None:
    watched = in_trial()
    limits = watched.full(4.0, rate=lambda limit: min(200.0, limit / 0.125))
    lowest = limits.index(min(limits))
    assert min(limits) == 6
    assert 17 in limits[lowest:]
    assert limits[-1] >= 25  # 200/s, 125 ms


@pytest.mark.parametrize(
    ("seconds", "taken_back"),
    [pytest.param(0.5, False, id="once may be chance"), pytest.param(1.0, True, id="twice is not")],
)
def test_a_step_down_is_reverted_after_two_windows_with_fewer_answers(
    seconds: float, taken_back: bool
) -> None:
    watched = in_trial()
    watched.full(0.4, rate=lambda _: 100.0)  # an earlier window does not count
    assert watched.full(0.2)[-1] == 7
    watched.full(0.1)
    limits = watched.full(seconds, rate=lambda _: 60.0) + watched.full(1.0)
    assert (17 in limits) is taken_back


def test_periodic_probes_raise_the_limit_and_are_reverted_if_answers_do_not_rise() -> None:
    watched = held()
    limits = watched.full(10.0)
    probes = [at for at, limit in enumerate(limits) if limit == 12 and limits[at - 1] == 7]
    assert len(probes) in (2, 3)
    assert all(later - sooner >= 80 for sooner, later in pairwise(probes))
    assert set(limits) == {7, 12}
    for probe in probes[:2]:
        assert limits[probe : probe + 17] == [12] * 16 + [7]  # 160 answers: four times a usual window


@pytest.mark.parametrize(
    ("follows", "to"),
    [
        pytest.param(0.3, 7, id="by less than two fifths: no rise"),
        pytest.param(0.6, 10, id="in part: by that part"),
        pytest.param(0.9, 19, id="nearly in full: a further rise"),
    ],
)
def test_a_probe_raises_the_limit_in_proportion_to_the_answers(follows: float, to: int) -> None:
    watched = held()
    limits = watched.full(4.5, rate=lambda limit: 200 * (1 + follows * (max(limit, 7) / 7 - 1)))
    assert next(limit for limit in limits[limits.index(12) :] if limit != 12) == to


@pytest.mark.parametrize("gone", [600, 1200])
def test_after_answers_vanish_with_a_replaced_worker_the_next_probe_is_a_normal_one(gone: int) -> None:
    watched = held()
    watched.full(3.4)
    cell = max(range(HISTOGRAM_CELLS), key=watched.answers.__getitem__)
    watched.answers[cell] -= gone
    watched.answered_ns //= 2
    assert set(watched.full(5.0)) == {7, 12}


def test_a_limit_that_is_too_low_rises() -> None:
    watched = held()
    assert watched.full(10.0, rate=lambda limit: min(limit / 0.1, 1000.0))[-1] >= 100


def too_high() -> Watched:
    """A request took 100 ms for a while and 1000 a second were answered, so the limit rose to 100 or more."""
    watched = held()
    assert watched.full(10.0, rate=lambda limit: min(limit / 0.1, 1000.0))[-1] >= 100
    return watched


@pytest.mark.parametrize("rate", [0.0, 80.0])
def test_wasted_work_lowers_a_limit_at_once(rate: float) -> None:
    watched = too_high()
    watched.full(0.5, rate=lambda _: 1000.0)
    limits = watched.full(1.3, rate=lambda _: rate or 1e-9, leave=200.0)
    assert min(limits[:9]) > 45
    # Twice the requests worked on before there was a limit: 200/s, by now nearly 100 ms each.
    assert min(limits[20:]) == max(limits[20:])
    assert 30 <= limits[-1] <= 42


def test_wasted_work_keeps_a_limit_low() -> None:
    """Fewer answers are not a sign of too few slots here."""
    watched = too_high()
    limits = watched.full(40.0, rate=lambda _: 1.0, leave=100.0)
    assert max(limits[20:]) <= 42


def test_with_few_answers_a_limit_is_judged_after_2s() -> None:
    """A request takes 4 s by now, and the upstream could work on all at once; its earlier throughput does not
    count then."""
    watched = held()
    assert watched.full(20.0, rate=lambda limit: limit / 4)[-1] >= 100


# --- the limit is removed


@pytest.mark.parametrize("in_phase", [in_trial, held], ids=["on trial", "held"])
def test_a_limit_without_waiting_requests_is_removed(in_phase: Callable[[], Watched]) -> None:
    watched = in_phase()
    watched.full(0.05)
    watched.awaiting = 2
    assert 0 not in watched.goes(1.9, waited_for=False)
    assert watched.goes(0.3, waited_for=False)[-1] == 0


def test_a_limit_that_is_reached_now_and_then_stays() -> None:
    watched = held()
    for _ in range(5):
        watched.awaiting = 2
        assert 0 not in watched.goes(1.5)
        assert 0 not in watched.full(0.05)


def test_after_a_limit_is_removed_the_next_one_needs_its_own_proof() -> None:
    watched = held()
    watched.awaiting = 2
    watched.goes(3.0, waited_for=False)
    watched.awaiting = 4
    assert set(watched.goes(5.0)) == {0}
    assert watched.overloaded()


# --- new upstreams


def test_a_new_upstream_starts_with_the_limit_of_another() -> None:
    other = held()
    newcomer = Watched(like=other.limit)
    newcomer.now = other.now
    assert newcomer.limit.limit == 7
    assert set(newcomer.full(0.3)) == {7}


def test_a_new_upstream_starts_without_a_limit_if_the_others_have_none() -> None:
    other = Watched()
    other.goes(10.0)
    assert Watched(like=other.limit).limit.limit == 0


def test_a_new_upstream_loses_an_inherited_limit_that_it_does_not_need() -> None:
    other = held()
    newcomer = Watched(like=other.limit)
    newcomer.now = other.now
    newcomer.awaiting = 2
    assert newcomer.goes(2.5, waited_for=False)[-1] == 0


def test_a_limit_that_rounds_up_to_itself_is_not_set_repeatedly_while_most_clients_leave() -> None:
    """The app is only slow and its clients leave: the limit cannot be lower, so the trial is judged."""
    watched = held()
    watched.full(30.0, rate=lambda limit: limit / 4, leave=80.0)
    assert watched.full(60.0, rate=lambda limit: limit / 4)[-1] >= 40
