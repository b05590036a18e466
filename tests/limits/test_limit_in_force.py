"""How an upstream's limit follows what it can do, goes away, and is given to those who join."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from balancer.telemetry.columns import HISTOGRAM_CELLS
from tests.limits.watched import Watched, held, in_trial

# --- a limit that follows


def test_a_limit_goes_to_what_is_worked_on_with_headroom_and_stays() -> None:
    assert held().full(3.0)[-1] == 7


@pytest.mark.parametrize(
    ("rate", "to"),
    [
        pytest.param(400, range(11, 15), id="it does twice as much"),
        pytest.param(100, range(3, 6), id="it does half"),
    ],
)
def test_a_limit_follows_what_the_upstream_does(rate: int, to: range) -> None:
    watched = held()
    limits = watched.full(3.0, rate=lambda _: rate)
    assert limits[-1] in to


@pytest.mark.parametrize(
    ("least", "most", "stays_at"),
    [pytest.param(20, 1000, 20, id="least"), pytest.param(1, 5, 5, id="most")],
)
def test_a_limit_is_never_beyond_its_bounds(least: int, most: int, stays_at: int) -> None:
    watched = Watched(least, most)
    limits = [watched.overloaded(), *watched.full(3.0)]
    assert all(least <= limit <= most for limit in limits)
    assert limits[-1] == stays_at
    limits = watched.full(30.0, rate=lambda limit: limit / 0.1)
    assert all(least <= limit <= most for limit in limits)


def test_a_step_down_that_costs_answers_is_taken_back_and_what_a_request_takes_is_learned() -> None:
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
def test_a_step_down_is_taken_back_after_two_stretches_with_fewer_answers(
    seconds: float, taken_back: bool
) -> None:
    watched = in_trial()
    watched.full(0.4, rate=lambda _: 100.0)  # one before does not count
    assert watched.full(0.2)[-1] == 7
    watched.full(0.1)
    limits = watched.full(seconds, rate=lambda _: 60.0) + watched.full(1.0)
    assert (17 in limits) is taken_back


def test_now_and_then_more_is_let_in_and_taken_back_where_no_more_is_answered() -> None:
    watched = held()
    limits = watched.full(10.0)
    probes = [at for at, limit in enumerate(limits) if limit == 12 and limits[at - 1] == 7]
    assert len(probes) in (2, 3)
    assert all(later - sooner >= 80 for sooner, later in pairwise(probes))
    assert set(limits) == {7, 12}
    for probe in probes[:2]:
        assert limits[probe : probe + 17] == [12] * 16 + [7]  # 160 answers: four times what else is enough


@pytest.mark.parametrize(
    ("follows", "to"),
    [
        pytest.param(0.3, 7, id="by less than two fifths: none"),
        pytest.param(0.6, 10, id="by a part: by that"),
        pytest.param(0.9, 19, id="nearly as much as was let in: still more"),
    ],
)
def test_after_a_probe_the_limit_has_risen_as_far_as_the_answers_did(follows: float, to: int) -> None:
    watched = held()
    limits = watched.full(4.5, rate=lambda limit: 200 * (1 + follows * (max(limit, 7) / 7 - 1)))
    assert next(limit for limit in limits[limits.index(12) :] if limit != 12) == to


@pytest.mark.parametrize("gone", [600, 1200])
def test_when_answers_go_with_a_worker_that_is_replaced_the_next_probe_is_as_any(gone: int) -> None:
    watched = held()
    watched.full(3.4)
    cell = max(range(HISTOGRAM_CELLS), key=watched.answers.__getitem__)
    watched.answers[cell] -= gone
    watched.answered_ns //= 2
    assert set(watched.full(5.0)) == {7, 12}


def test_a_limit_that_was_too_low_finds_up() -> None:
    watched = held()
    assert watched.full(10.0, rate=lambda limit: min(limit / 0.1, 1000.0))[-1] >= 100


def too_high() -> Watched:
    """A request took 100 ms for a while, and 1000 a second were answered, so that more were let in."""
    watched = held()
    assert watched.full(10.0, rate=lambda limit: min(limit / 0.1, 1000.0))[-1] >= 100
    return watched


@pytest.mark.parametrize("rate", [0.0, 80.0])
def test_where_work_is_in_vain_a_limit_goes_down_at_once(rate: float) -> None:
    watched = too_high()
    watched.full(0.5, rate=lambda _: 1000.0)
    limits = watched.full(1.3, rate=lambda _: rate or 1e-9, leave=200.0)
    assert min(limits[:9]) > 45
    # Twice what was worked on before there was a limit: 200/s, by now nearly 100 ms.
    assert min(limits[20:]) == max(limits[20:])
    assert 30 <= limits[-1] <= 42


def test_where_work_is_in_vain_a_limit_stays_down() -> None:
    """That fewer are answered is not for want of slots."""
    watched = too_high()
    limits = watched.full(40.0, rate=lambda _: 1.0, leave=100.0)
    assert max(limits[20:]) <= 42


def test_with_few_answers_a_limit_is_judged_after_two_seconds() -> None:
    """A request takes 4 s by now, and it could take all at once; what it did before does not count then."""
    watched = held()
    assert watched.full(20.0, rate=lambda limit: limit / 4)[-1] >= 100


# --- and goes away


@pytest.mark.parametrize("in_phase", [in_trial, held], ids=["on trial", "held"])
def test_a_limit_that_nobody_waits_for_goes_away(in_phase: Callable[[], Watched]) -> None:
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


def test_after_a_limit_the_next_one_needs_its_own_proof() -> None:
    watched = held()
    watched.awaiting = 2
    watched.goes(3.0, waited_for=False)
    watched.awaiting = 4
    assert set(watched.goes(5.0)) == {0}
    assert watched.overloaded()


# --- who joins


def test_who_joins_begins_with_the_limit_of_another() -> None:
    other = held()
    newcomer = Watched(like=other.limit)
    newcomer.now = other.now
    assert newcomer.limit.limit == 7
    assert set(newcomer.full(0.3)) == {7}


def test_who_joins_while_there_is_no_limit_has_none() -> None:
    other = Watched()
    other.goes(10.0)
    assert Watched(like=other.limit).limit.limit == 0


def test_who_joined_with_a_limit_it_does_not_need_loses_it() -> None:
    other = held()
    newcomer = Watched(like=other.limit)
    newcomer.now = other.now
    newcomer.awaiting = 2
    assert newcomer.goes(2.5, waited_for=False)[-1] == 0


def test_a_limit_that_rounds_up_is_not_set_again_and_again_where_most_leave() -> None:
    """An app that is only slow, whose clients leave: what may be there cannot be less, so it is judged."""
    watched = held()
    watched.full(30.0, rate=lambda limit: limit / 4, leave=80.0)
    assert watched.full(60.0, rate=lambda limit: limit / 4)[-1] >= 40
