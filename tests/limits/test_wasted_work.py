"""WastedWork: when an upstream counts as busy with requests whose clients have left."""

import pytest

from balancer.limits.wasted_work import WastedWork
from balancer.limits.window import Window
from tests.limits.counted import BEAT, Counted


class Watched:
    """An upstream that usually answers `usual` requests a second."""

    def __init__(self, usual: float = 200.0) -> None:
        self.counted = Counted()
        self.wasted = WastedWork(self.counted.sample())
        self.usual = usual
        self.took = 0.0

    def goes(self, seconds: float, *, rate: float, leave: float) -> Window | None:
        """Play this traffic (rates per second) until work counts as wasted; `took` is how long that took."""
        self.took = 0.0
        while self.took < seconds - 1e-9:
            self.took += BEAT
            if (shown := self.wasted.observe(self.counted.beat(rate, leave), self.usual)) is not None:
                return shown
        return None


@pytest.mark.parametrize(
    ("rate", "leave", "wasted"),
    [
        pytest.param(0, 100, True, id="no answers"),
        pytest.param(95, 100, True, id="less than half as many as usual"),
        pytest.param(105, 300, False, id="more than half as many"),
        pytest.param(200, 300, False, id="as many as usual"),
        pytest.param(95, 85, False, id="fewer leave than are answered"),
        pytest.param(0, 0, False, id="no client leaves"),
    ],
)
def test_work_is_wasted_if_more_leave_than_are_answered_and_half_of_the_answers_are_missing(
    rate: float, leave: float, wasted: bool
) -> None:
    assert (Watched().goes(12.0, rate=rate, leave=leave) is not None) is wasted


def test_wasted_work_is_reported_after_half_a_second() -> None:
    watched = Watched()
    shown = watched.goes(1.0, rate=40, leave=100)
    assert shown is not None
    assert (shown.seconds, shown.rate, shown.left) == pytest.approx((watched.took, 40, 50), abs=5)
    assert 0.5 <= round(watched.took, 3) < 0.6


@pytest.mark.parametrize(
    ("leave", "seconds", "wasted"),
    [pytest.param(1.0, 11.0, True, id="ten in ten seconds"), pytest.param(0.85, 30.0, False, id="fewer")],
)
def test_wasted_work_needs_ten_departures_within_10s(leave: float, seconds: float, wasted: bool) -> None:
    assert (Watched().goes(seconds, rate=0, leave=leave) is not None) is wasted


@pytest.mark.parametrize(
    ("usual", "rate", "seconds"),
    [
        pytest.param(1, 1, 60.0, id="as many answers as usual"),
        pytest.param(1, 0, 3.5, id="no answers for three seconds by chance"),
        pytest.param(2, 1.2, 60.0, id="more than half as many"),
    ],
)
def test_departures_under_long_polling_are_not_wasted_work(usual: float, rate: float, seconds: float) -> None:
    assert Watched(usual).goes(seconds, rate=rate, leave=20) is None


def test_no_work_counts_as_wasted_while_the_usual_rate_is_unknown() -> None:
    """The upstream has just started, or answers too few requests to fill a window."""
    assert Watched(usual=0).goes(12.0, rate=0, leave=20) is None


@pytest.mark.parametrize(
    ("usual", "rate", "at_least"),
    [
        pytest.param(10, 4.9, 1.0, id="ten answers a second"),
        pytest.param(2, 0.8, 4.0, id="two answers a second"),
    ],
)
def test_at_low_rates_wasted_work_is_observed_for_longer(usual: float, rate: float, at_least: float) -> None:
    watched = Watched(usual)
    assert watched.goes(12.0, rate=rate, leave=40) is not None
    assert at_least < watched.took <= 10.0


@pytest.mark.parametrize("leave", [5, 300], ids=["few left", "more left than were answered"])
def test_earlier_good_traffic_does_not_hide_wasted_work(leave: float) -> None:
    watched = Watched()
    assert watched.goes(5.2, rate=200, leave=leave) is None
    assert watched.goes(1.5, rate=0, leave=300) is not None
    assert watched.took <= 1.0


def test_observation_starts_anew_after_each_report() -> None:
    watched = Watched()
    assert watched.goes(1.0, rate=0, leave=100) is not None
    assert watched.wasted.left == 0
    assert watched.goes(0.4, rate=0, leave=100) is None
    assert watched.wasted.left == 40
    assert watched.goes(0.2, rate=0, leave=100) is not None
