"""How an upstream's first limit comes, and what it has to show."""

from collections.abc import Callable

import pytest

from balancer.telemetry.columns import HISTOGRAM_CELLS
from tests.limits.watched import BEAT, Watched, held, in_trial

# --- no limit


def test_there_is_no_limit_while_all_is_as_usual() -> None:
    assert set(Watched().goes(30.0)) == {0}


def test_the_first_limit_is_a_fifth_of_what_is_there() -> None:
    watched = Watched()
    assert watched.overloaded() == round(watched.awaiting / 5)


def test_the_first_limit_is_no_less_than_twice_what_was_worked_on() -> None:
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 16
    assert watched.goes(BEAT, pressed=True) == [8]


def test_of_what_was_worked_on_a_worker_counts_its_own_part() -> None:
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 16
    watched.share = 2
    assert watched.goes(BEAT, pressed=True) == [4]


def test_where_no_more_comes_than_usual_the_first_limit_is_half_of_what_is_there() -> None:
    watched = Watched(most=10_000)
    watched.goes(10.0)
    while not watched.limit.limit:
        assert watched.awaiting < 6000
        watched.awaiting += 5
        watched.goes(BEAT, rate=100, takes=watched.awaiting / 200)
    assert watched.limit.limit == pytest.approx(watched.awaiting / 2, abs=1)


@pytest.mark.parametrize(
    ("awaiting", "limited"),
    [
        pytest.param(14, False, id="three times the usual number"),
        pytest.param(16, True, id="more than that"),
    ],
)
def test_what_other_upstreams_do_not_take_limits_this_one_at_once(awaiting: int, limited: bool) -> None:
    watched = Watched()
    watched.goes(30.0)
    watched.awaiting = awaiting
    assert bool(watched.goes(BEAT, pressed=True)[0]) is limited


def suspected() -> Watched:
    """A backlog is suspected and not proven."""
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 60
    assert watched.goes(0.2, takes=0.2) == [0] * 4
    return watched


@pytest.mark.parametrize("rate", [0, 80])
def test_where_work_is_in_vain_no_more_is_let_in_than_twice_what_was_worked_on(rate: float) -> None:
    """Nothing had been suspected before."""
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 400
    limits = watched.goes(1.5, rate=rate, leave=200)
    assert limits[:9] == [0] * 9  # not before half a second
    assert set(limits[20:]) == {8}


@pytest.mark.parametrize(
    ("watched", "leave"),
    [
        pytest.param(suspected, 0, id="nobody leaves"),
        pytest.param(suspected, 20, id="few leave"),
        pytest.param(held, 0, id="under a limit nobody leaves"),
    ],
)
def test_silence_alone_changes_nothing(watched: Callable[[], Watched], leave: int) -> None:
    it = watched()
    it.awaiting = max(it.awaiting, it.limit.limit)
    assert len(set(it.goes(0.7, rate=0, leave=leave))) == 1


def test_who_leaves_before_anybody_was_answered_is_no_reason_for_a_limit() -> None:
    """An app that is still starting, and nobody knows how much it can do."""
    assert set(Watched().goes(12.0, rate=0, leave=100)) == {0}


def test_of_few_answers_nothing_is_said() -> None:
    """What was suspected before is forgotten, too: else a backlog would count from there, as one of an
    upstream that does less than usual, and it would take six seconds to prove it."""
    watched = suspected()
    assert set(watched.goes(2.2, rate=1, takes=0.2)) == {0}
    for _ in range(20):
        watched.awaiting += 20
        watched.goes(BEAT, takes=watched.awaiting / 600)
    assert watched.limit.limit


# --- the first limit, on trial


def test_what_was_sent_before_the_limit_does_not_count() -> None:
    watched = Watched()
    limit = watched.overloaded()
    assert set(watched.goes(3.0, rate=100, takes=0.5)) == {limit}  # more are there than the limit
    limits = watched.full(2.0, rate=lambda _: 100.0)
    owed = 1 + 4  # samples, for the limit to be kept and for 17 answers
    assert limits.index(0) == owed + 2 * 8 - 1  # two windows of forty answers


def test_what_was_sent_before_the_limit_is_waited_for_five_seconds_at_most() -> None:
    watched = Watched()
    watched.overloaded()
    assert 0 not in watched.goes(5.0, rate=100)
    assert 0 in watched.goes(1.0, rate=100)


def test_a_trial_ends_early_where_far_fewer_of_those_who_were_there_are_answered() -> None:
    """Who works off a backlog is as fast to its end."""
    watched = Watched()
    watched.overloaded()
    limits = watched.goes(1.0, rate=80, takes=0.5)
    assert 0 not in limits[:9]
    assert limits[12] == 0


def test_a_trial_does_not_end_early_where_clients_leave() -> None:
    watched = Watched()
    limit = watched.overloaded()
    assert set(watched.goes(2.0, rate=60, takes=0.5, leave=40)) == {limit}


def test_after_a_trial_taken_back_what_others_do_not_take_is_no_reason_for_five_seconds() -> None:
    watched = in_trial()
    watched.full(0.5, rate=lambda _: 80.0)
    taken_back = watched.now
    assert watched.limit.limit == 0
    watched.awaiting = 4
    watched.goes(4.5)
    watched.awaiting = 200
    while watched.now < taken_back + 4.9:
        assert watched.goes(BEAT, pressed=True) == [0]
    assert watched.goes(0.3, pressed=True)[-1]


@pytest.mark.parametrize(
    ("rate", "opens_after"),
    [
        pytest.param(80, 1, id="far fewer: at once"),
        pytest.param(100, 2, id="half as many: the second time"),
        pytest.param(130, 0, id="about as many: not"),
    ],
)
def test_the_first_limit_is_taken_back_where_fewer_are_answered(rate: int, opens_after: int) -> None:
    watched = in_trial()
    window = 2 * BEAT * -(-40 // (2 * BEAT * rate))  # until forty answers are there
    limits = watched.full(3 * window, rate=lambda _: rate)
    samples = len(limits) // 3
    if not opens_after:
        assert 0 not in limits
    else:
        assert 0 not in limits[: opens_after * samples - 2]
        assert limits[opens_after * samples - 1] == 0


def test_fewer_answers_once_are_no_reason_to_take_the_limit_back() -> None:
    watched = in_trial()
    watched.full(0.4, rate=lambda _: 100.0)
    assert 0 not in watched.full(3.0)


def test_while_nobody_at_all_is_answered_a_trial_is_not_judged() -> None:
    """It may be busy with those who are gone, before it comes to the others."""
    watched = in_trial()
    watched.full(1.0, rate=lambda _: 1e-9)
    assert 0 not in watched.full(2.0)


def test_a_limit_that_was_taken_back_does_not_come_again_at_once() -> None:
    watched = in_trial()
    watched.full(0.5, rate=lambda _: 80.0)
    assert watched.limit.limit == 0
    watched.awaiting = 100
    limits = []
    for _ in range(60):
        watched.awaiting += 40
        limits += watched.goes(BEAT, takes=watched.awaiting / 1000)
    assert set(limits[:18]) == {0}
    assert limits[-1]


def test_where_clients_leave_the_trial_tells_nothing_and_the_limit_is_halved() -> None:
    watched = in_trial()
    limits = watched.full(1.0, rate=lambda _: 80.0, leave=40.0)
    assert 0 not in limits
    assert limits[-1] == 8  # twice what was worked on


def test_a_trial_does_not_wait_for_ever_for_clients_who_leave() -> None:
    watched = in_trial()
    assert 0 in watched.full(8.0, rate=lambda _: 80.0, leave=40.0)


def test_a_limit_that_is_full_in_few_looks_tells_nothing_of_the_upstream() -> None:
    watched = in_trial()
    for sample in range(32):
        watched.awaiting = 17 if sample % 4 == 0 else 10
        assert watched.goes(BEAT, rate=60) == [17]


def test_when_answers_go_with_a_worker_that_is_replaced_a_window_begins_anew() -> None:
    watched = in_trial()
    watched.full(0.1)
    cell = max(range(HISTOGRAM_CELLS), key=watched.answers.__getitem__)
    watched.answers[cell] -= 60
    watched.answered_ns //= 2
    assert 0 not in watched.full(3.0)


def test_when_those_who_left_go_with_a_worker_that_is_replaced_a_window_begins_anew() -> None:
    watched = in_trial(left=100)
    watched.full(0.1, rate=lambda _: 80.0, leave=40.0)
    watched.left = 0
    assert 0 not in watched.full(1.0, rate=lambda _: 80.0, leave=40.0)  # they leave, so it says nothing
