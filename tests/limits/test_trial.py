"""What the first limit of an upstream shows: that there was a backlog, or not."""

import pytest

from balancer.limits.trial import Trial, Verdict
from balancer.limits.window import Window
from tests.limits.counted import BEAT, Counted

RATE = 200.0  # answers a second before the limit


class Tried:
    """The trial of an upstream where 100 requests of this worker are, and 200 of all."""

    def __init__(self, *, limit: int = 20, rate: float = RATE, left_before: int = 0) -> None:
        self.counted = Counted(200)
        self.counted.left = left_before
        self.trial = Trial(self.counted.sample(), limit=limit, rate=rate, left=left_before)

    def judge(self, rate: float, *, left: int = 0, after: float = 1.0, may_be_lower: bool = True) -> Verdict:
        """Of a second with so many answers, so long after the limit."""
        window = Window(1.0, round(rate), rate, 0.1, 0.1, 20, 20.0, 0, left, 1.0)
        return self.trial.judge(self.counted.now + after, window, may_be_lower)

    def drains(self, seconds: float, rate: float, leave: float = 0.0) -> Window | None:
        """What was sent before is answered at this rate."""
        for _ in range(round(seconds / BEAT)):
            if (dry := self.trial.runs_dry(self.counted.beat(rate, leave))) is not None:
                return dry
        return None


@pytest.mark.parametrize(
    ("limit", "mark"),
    [
        pytest.param(2, 0.51, id="hardly anybody is let in"),
        pytest.param(20, 0.6, id="a fifth"),
        pytest.param(50, 0.75, id="half"),
        pytest.param(90, 0.75, id="nearly all: no more is asked for"),
    ],
)
def test_it_was_a_backlog_where_more_are_answered_than_half_way_to_what_is_let_in(
    limit: int, mark: float
) -> None:
    assert Tried(limit=limit).judge(mark * RATE + 1) is Verdict.BACKLOG
    assert Tried(limit=limit).judge(mark * RATE - 1) is Verdict.OPEN


def test_it_was_none_where_far_fewer_are_answered_once() -> None:
    assert Tried().judge(89) is Verdict.NONE


def test_it_was_none_where_fewer_are_answered_twice() -> None:
    tried = Tried()
    assert [tried.judge(91), tried.judge(91)] == [Verdict.OPEN, Verdict.NONE]


def test_fewer_answers_once_may_be_chance() -> None:
    tried = Tried()
    assert [tried.judge(100), tried.judge(RATE)] == [Verdict.OPEN, Verdict.BACKLOG]


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        pytest.param(17, Verdict.LEAVING, id="more than a fifth of the answered"),
        pytest.param(16, Verdict.NONE, id="a fifth"),
    ],
)
def test_where_many_leave_nothing_is_shown(left: int, verdict: Verdict) -> None:
    assert Tried().judge(80, left=left) is verdict


def test_where_many_leave_five_times_it_is_judged_all_the_same() -> None:
    tried = Tried()
    assert [tried.judge(80, left=40) for _ in range(5)] == [Verdict.LEAVING] * 5
    assert tried.judge(80, left=40) is Verdict.NONE


@pytest.mark.parametrize(
    ("left", "after", "verdict"),
    [
        pytest.param(81, 9.9, Verdict.OPEN, id="more than are answered"),
        pytest.param(80, 9.9, Verdict.LEAVING, id="as many"),
        pytest.param(81, 10.1, Verdict.LEAVING, id="more, for ten seconds"),
    ],
)
def test_it_is_open_while_more_leave_than_are_answered_for_ten_seconds_at_most(
    left: int, after: float, verdict: Verdict
) -> None:
    tried = Tried()
    assert {tried.judge(80, left=left, after=after) for _ in range(5)} == {verdict}


def test_a_trial_runs_dry_where_twice_in_a_row_far_fewer_are_answered() -> None:
    tried = Tried()
    assert tried.drains(0.3, 180) is None
    assert tried.drains(0.4, 80) is None
    dry = tried.drains(0.5, 80)
    assert dry is not None
    assert dry.rate == pytest.approx(80, rel=0.05)
    assert dry.seconds == pytest.approx(0.25, abs=BEAT + 0.01)


@pytest.mark.parametrize(
    ("rate", "dry"), [pytest.param(85, True, id="far fewer"), pytest.param(95, False, id="half as many")]
)
def test_a_trial_runs_dry_with_less_than_nearly_half_of_the_answers(rate: float, dry: bool) -> None:
    assert (Tried().drains(5.0, rate) is not None) is dry


def test_far_fewer_answers_now_and_then_do_not_end_a_trial() -> None:
    tried = Tried()
    for _ in range(5):
        assert tried.drains(6 * BEAT, 40) is None
        assert tried.drains(12 * BEAT, RATE) is None


@pytest.mark.parametrize(
    ("left", "dry"),
    [pytest.param(10, True, id="one in twenty"), pytest.param(11, False, id="more")],
)
def test_a_trial_does_not_run_dry_where_clients_have_left(left: int, dry: bool) -> None:
    """It may be busy with them."""
    tried = Tried()
    tried.counted.left = left
    assert (tried.drains(3.0, 20) is not None) is dry


def test_those_who_left_just_before_the_limit_count_as_well() -> None:
    assert Tried(left_before=11).drains(3.0, 20) is None
    assert Tried(left_before=10).drains(3.0, 20) is not None


def test_a_trial_does_not_run_dry_while_few_answers_are_expected() -> None:
    tried = Tried(rate=20)
    assert tried.drains(1.9, 0) is None
    assert tried.drains(0.3, 0) is not None


def test_where_the_limit_cannot_be_lower_it_is_judged_though_many_leave() -> None:
    tried = Tried()
    assert tried.judge(100.0, left=50, may_be_lower=False) is not Verdict.LEAVING


def test_what_was_counted_before_a_worker_was_replaced_does_not_count() -> None:
    tried = Tried()
    tried.drains(0.2, RATE)
    tried.counted = Counted(200)
    tried.trial.begin_anew(tried.counted.sample())
    assert tried.drains(2.0, RATE) is None
