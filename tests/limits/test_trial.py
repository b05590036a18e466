"""The trial of an upstream's first limit: it proves that there was a backlog, or that there was none."""

import pytest

from balancer.limits.trial import Trial, Verdict
from balancer.limits.window import Window
from tests.limits.counted import BEAT, Counted

RATE = 200.0  # answers a second before the limit


class Tried:
    """The trial of an upstream with 200 requests in flight, 100 of them from this worker."""

    def __init__(self, *, limit: int = 20, rate: float = RATE, left_before: int = 0) -> None:
        self.counted = Counted(200)
        self.counted.left = left_before
        self.trial = Trial(self.counted.sample(), limit=limit, rate=rate, left=left_before)

    def judge(self, rate: float, *, left: int = 0, after: float = 1.0, may_be_lower: bool = True) -> Verdict:
        """Judge a window of one second with this answer rate, `after` seconds after the limit was set."""
        window = Window(1.0, round(rate), rate, 0.1, 0.1, 20, 20.0, 0, left, 1.0)
        return self.trial.judge(self.counted.now + after, window, may_be_lower)

    def drains(self, seconds: float, rate: float, leave: float = 0.0) -> Window | None:
        """Requests sent before the limit are answered at this rate; the window in which the trial ran dry."""
        for _ in range(round(seconds / BEAT)):
            if (dry := self.trial.runs_dry(self.counted.beat(rate, leave))) is not None:
                return dry
        return None


@pytest.mark.parametrize(
    ("limit", "mark"),
    [
        pytest.param(2, 0.51, id="a limit of two"),
        pytest.param(20, 0.6, id="a fifth"),
        pytest.param(50, 0.75, id="half"),
        pytest.param(90, 0.75, id="nearly all: the mark stays at three quarters"),
    ],
)
def test_a_trial_proves_a_backlog_above_the_midpoint_of_limit_and_former_rate(
    limit: int, mark: float
) -> None:
    assert Tried(limit=limit).judge(mark * RATE + 1) is Verdict.BACKLOG
    assert Tried(limit=limit).judge(mark * RATE - 1) is Verdict.OPEN


def test_one_window_with_far_fewer_answers_disproves_a_backlog() -> None:
    assert Tried().judge(89) is Verdict.NONE


def test_two_windows_with_fewer_answers_disprove_a_backlog() -> None:
    tried = Tried()
    assert [tried.judge(91), tried.judge(91)] == [Verdict.OPEN, Verdict.NONE]


def test_one_window_with_fewer_answers_proves_nothing() -> None:
    tried = Tried()
    assert [tried.judge(100), tried.judge(RATE)] == [Verdict.OPEN, Verdict.BACKLOG]


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        pytest.param(17, Verdict.LEAVING, id="more than a fifth of the answered"),
        pytest.param(16, Verdict.NONE, id="a fifth"),
    ],
)
def test_a_window_in_which_many_clients_leave_is_inconclusive(left: int, verdict: Verdict) -> None:
    assert Tried().judge(80, left=left) is verdict


def test_after_five_windows_with_many_departures_the_sixth_is_judged() -> None:
    tried = Tried()
    assert [tried.judge(80, left=40) for _ in range(5)] == [Verdict.LEAVING] * 5
    assert tried.judge(80, left=40) is Verdict.NONE


@pytest.mark.parametrize(
    ("left", "after", "verdict"),
    [
        pytest.param(81, 9.9, Verdict.OPEN, id="more leave than are answered"),
        pytest.param(80, 9.9, Verdict.LEAVING, id="as many leave as are answered"),
        pytest.param(81, 10.1, Verdict.LEAVING, id="more leave, for over 10 s"),
    ],
)
def test_a_trial_stays_open_for_at_most_10s_while_more_clients_leave_than_are_answered(
    left: int, after: float, verdict: Verdict
) -> None:
    tried = Tried()
    assert {tried.judge(80, left=left, after=after) for _ in range(5)} == {verdict}


def test_a_trial_runs_dry_after_two_windows_in_a_row_with_far_fewer_answers() -> None:
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
def test_a_trial_runs_dry_below_nearly_half_of_the_former_answers(rate: float, dry: bool) -> None:
    assert (Tried().drains(5.0, rate) is not None) is dry


def test_isolated_windows_with_far_fewer_answers_do_not_end_a_trial() -> None:
    tried = Tried()
    for _ in range(5):
        assert tried.drains(6 * BEAT, 40) is None
        assert tried.drains(12 * BEAT, RATE) is None


@pytest.mark.parametrize(
    ("left", "dry"),
    [pytest.param(10, True, id="one in twenty"), pytest.param(11, False, id="more")],
)
def test_a_trial_does_not_run_dry_after_clients_have_left(left: int, dry: bool) -> None:
    """The upstream may be busy with their requests."""
    tried = Tried()
    tried.counted.left = left
    assert (tried.drains(3.0, 20) is not None) is dry


def test_departures_just_before_the_limit_count_as_well() -> None:
    assert Tried(left_before=11).drains(3.0, 20) is None
    assert Tried(left_before=10).drains(3.0, 20) is not None


def test_a_trial_does_not_run_dry_while_few_answers_are_expected() -> None:
    tried = Tried(rate=20)
    assert tried.drains(1.9, 0) is None
    assert tried.drains(0.3, 0) is not None


def test_at_the_lowest_limit_a_trial_is_judged_despite_departures() -> None:
    tried = Tried()
    assert tried.judge(100.0, left=50, may_be_lower=False) is not Verdict.LEAVING


def test_counts_from_before_a_worker_was_replaced_are_ignored() -> None:
    tried = Tried()
    tried.drains(0.2, RATE)
    tried.counted = Counted(200)
    tried.trial.begin_anew(tried.counted.sample())
    assert tried.drains(2.0, RATE) is None
