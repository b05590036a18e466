"""How an upstream's first limit is set, and how its trial ends."""

from collections.abc import Callable

import pytest

from balancer.telemetry.columns import HISTOGRAM_CELLS
from tests.limits.watched import BEAT, Watched, held, in_trial

# --- no limit


def test_there_is_no_limit_under_usual_traffic() -> None:
    assert set(Watched().goes(30.0)) == {0}


def test_the_first_limit_is_a_fifth_of_the_requests_in_flight() -> None:
    watched = Watched()
    assert watched.overloaded() == round(watched.awaiting / 5)


def test_the_first_limit_is_at_least_twice_the_requests_worked_on() -> None:
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 16
    assert watched.goes(BEAT, pressed=True) == [8]


def test_each_worker_counts_only_its_own_share_of_the_requests_worked_on() -> None:
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 16
    watched.share = 2
    assert watched.goes(BEAT, pressed=True) == [4]


def test_at_the_usual_arrival_rate_the_first_limit_is_half_of_the_requests_in_flight() -> None:
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
def test_overflow_from_other_upstreams_limits_a_crowded_one_at_once(awaiting: int, limited: bool) -> None:
    watched = Watched()
    watched.goes(30.0)
    watched.awaiting = awaiting
    assert bool(watched.goes(BEAT, pressed=True)[0]) is limited


def suspected() -> Watched:
    """A backlog is suspected, but not proven."""
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 60
    assert watched.goes(0.2, takes=0.2) == [0] * 4
    return watched


@pytest.mark.parametrize("rate", [0, 80])
def test_wasted_work_limits_an_upstream_to_twice_the_requests_worked_on(rate: float) -> None:
    """No backlog was suspected before."""
    watched = Watched()
    watched.goes(10.0)
    watched.awaiting = 400
    limits = watched.goes(1.5, rate=rate, leave=200)
    assert limits[:9] == [0] * 9  # not within half a second
    assert set(limits[20:]) == {8}


@pytest.mark.parametrize(
    ("watched", "leave"),
    [
        pytest.param(suspected, 0, id="nobody leaves"),
        pytest.param(suspected, 20, id="few leave"),
        pytest.param(held, 0, id="under a limit nobody leaves"),
    ],
)
def test_silence_alone_changes_no_limit(watched: Callable[[], Watched], leave: int) -> None:
    it = watched()
    it.awaiting = max(it.awaiting, it.limit.limit)
    assert len(set(it.goes(0.7, rate=0, leave=leave))) == 1


def test_clients_that_leave_before_the_first_answer_set_no_limit() -> None:
    """The app is still starting, so its capacity is unknown."""
    assert set(Watched().goes(12.0, rate=0, leave=100)) == {0}


def test_windows_with_few_answers_are_inconclusive() -> None:
    """They clear an earlier suspicion, too: otherwise a backlog would count from then, as that of an upstream
    with less than its usual throughput, and take six seconds to prove."""
    watched = suspected()
    assert set(watched.goes(2.2, rate=1, takes=0.2)) == {0}
    for _ in range(20):
        watched.awaiting += 20
        watched.goes(BEAT, takes=watched.awaiting / 600)
    assert watched.limit.limit


# --- the first limit, on trial


def test_requests_sent_before_the_limit_do_not_count_in_its_trial() -> None:
    watched = Watched()
    limit = watched.overloaded()
    assert set(watched.goes(3.0, rate=100, takes=0.5)) == {limit}  # more are in flight than the limit allows
    limits = watched.full(2.0, rate=lambda _: 100.0)
    owed = 1 + 4  # samples, for the limit to be kept and for 17 answers
    assert limits.index(0) == owed + 2 * 8 - 1  # two windows of forty answers


def test_a_trial_waits_at_most_5s_for_requests_sent_before_the_limit() -> None:
    watched = Watched()
    watched.overloaded()
    assert 0 not in watched.goes(5.0, rate=100)
    assert 0 in watched.goes(1.0, rate=100)


def test_a_trial_ends_early_if_earlier_requests_are_answered_far_more_slowly() -> None:
    """An upstream that works off a backlog keeps its speed to the end."""
    watched = Watched()
    watched.overloaded()
    limits = watched.goes(1.0, rate=80, takes=0.5)
    assert 0 not in limits[:9]
    assert limits[12] == 0


def test_a_trial_does_not_end_early_while_clients_leave() -> None:
    watched = Watched()
    limit = watched.overloaded()
    assert set(watched.goes(2.0, rate=60, takes=0.5, leave=40)) == {limit}


def test_after_a_trial_is_taken_back_overflow_sets_no_limit_for_5s() -> None:
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
        pytest.param(80, 1, id="far fewer: after one window"),
        pytest.param(100, 2, id="half as many: after two windows"),
        pytest.param(130, 0, id="about as many: kept"),
    ],
)
def test_the_first_limit_is_taken_back_if_fewer_requests_are_answered(rate: int, opens_after: int) -> None:
    watched = in_trial()
    window = 2 * BEAT * -(-40 // (2 * BEAT * rate))  # until forty answers have arrived
    limits = watched.full(3 * window, rate=lambda _: rate)
    samples = len(limits) // 3
    if not opens_after:
        assert 0 not in limits
    else:
        assert 0 not in limits[: opens_after * samples - 2]
        assert limits[opens_after * samples - 1] == 0


def test_one_window_with_fewer_answers_does_not_take_the_limit_back() -> None:
    watched = in_trial()
    watched.full(0.4, rate=lambda _: 100.0)
    assert 0 not in watched.full(3.0)


def test_a_trial_is_not_judged_while_nothing_is_answered() -> None:
    """The upstream may still be busy with requests whose clients have left."""
    watched = in_trial()
    watched.full(1.0, rate=lambda _: 1e-9)
    assert 0 not in watched.full(2.0)


def test_a_limit_that_was_taken_back_does_not_return_at_once() -> None:
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


def test_a_trial_during_which_clients_leave_is_inconclusive_and_halves_the_limit() -> None:
    watched = in_trial()
    limits = watched.full(1.0, rate=lambda _: 80.0, leave=40.0)
    assert 0 not in limits
    assert limits[-1] == 8  # twice the requests worked on


def test_a_trial_does_not_wait_for_ever_while_clients_leave() -> None:
    watched = in_trial()
    assert 0 in watched.full(8.0, rate=lambda _: 80.0, leave=40.0)


def test_a_limit_that_is_full_in_few_samples_is_inconclusive() -> None:
    watched = in_trial()
    for sample in range(32):
        watched.awaiting = 17 if sample % 4 == 0 else 10
        assert watched.goes(BEAT, rate=60) == [17]


def test_a_window_restarts_if_answers_vanish_with_a_replaced_worker() -> None:
    watched = in_trial()
    watched.full(0.1)
    cell = max(range(HISTOGRAM_CELLS), key=watched.answers.__getitem__)
    watched.answers[cell] -= 60
    watched.answered_ns //= 2
    assert 0 not in watched.full(3.0)


def test_a_window_restarts_if_departures_vanish_with_a_replaced_worker() -> None:
    watched = in_trial(left=100)
    watched.full(0.1, rate=lambda _: 80.0, leave=40.0)
    watched.left = 0
    assert 0 not in watched.full(
        1.0, rate=lambda _: 80.0, leave=40.0
    )  # clients leave, so the window is inconclusive
