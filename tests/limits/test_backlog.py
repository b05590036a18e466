"""BacklogDetector: which traffic proves a backlog at an upstream, and which does not."""

from collections.abc import Callable
from math import e, log

import pytest

from balancer.limits.backlog import BacklogDetector
from balancer.limits.window import Window

_STRETCH = 0.1  # seconds


class Watched:
    """An upstream that has answered 200 requests a second after 20 ms each for `seconds`."""

    def __init__(self, seconds: float = 20.0, takes: float = 0.02) -> None:
        self.detector = BacklogDetector()
        self.now = 100.0
        self.awaiting = round(200 * takes)
        self.proven_after = 0.0
        self.goes(seconds, takes=takes)

    def goes(
        self,
        seconds: float,
        *,
        rate: float = 200.0,
        takes: float | None = 0.02,
        low: float | None = None,
        grows: float = 0.0,
        leave: float = 0.0,
    ) -> bool:
        """Play this traffic until a backlog is proven; returns whether it was. `takes` None: the latency is
        the waiting time of the oldest requests in the growing backlog. `grows` and `leave` are per second."""
        began = self.now
        while self.now - began < seconds - 1e-9:
            mean = max(0.02, self.awaiting / (rate + grows)) if takes is None else takes
            before = self.awaiting
            self.now += _STRETCH
            self.awaiting += round(grows * _STRETCH)
            self.detector.observe(self.now, self.awaiting)
            if self.detector.weigh(
                self.now,
                Window(
                    seconds=_STRETCH,
                    answers=round(rate * _STRETCH),
                    own_rate=rate,
                    mean=mean,
                    low=mean if low is None else low,
                    awaiting=self.awaiting,
                    mean_awaiting=(before + self.awaiting) / 2,
                    grown=self.awaiting - before,
                    left=round(leave * _STRETCH),
                    full=0.0,
                ),
            ):
                self.proven_after = self.now - began
                return True
        return False


def _comes_all_at_once(watched: Watched) -> bool:
    watched.awaiting = 200
    return any(watched.goes(0.1, takes=waited / 10, grows=-200) for waited in range(1, 10))


def _slower_and_full_again(watched: Watched) -> bool:
    return watched.goes(3.0, takes=0.6, grows=40) or watched.goes(20.0, takes=0.6)


def _answers_less_then_more_comes(watched: Watched) -> bool:
    return watched.goes(0.9, rate=100, takes=None, grows=400)


def _grows_no_more_than_by_chance(watched: Watched) -> bool:
    watched.goes(0.1, rate=400, takes=0.1)
    watched.awaiting = 14
    return watched.goes(1.0, rate=400, takes=0.14)


def _few_of_many_wait(watched: Watched) -> bool:
    watched.awaiting = 300
    return watched.goes(0.1, rate=2000, takes=0.1) or watched.goes(4.0, rate=2000, takes=0.14, grows=30)


def _it_answers_faster_than_the_backlog_grows(watched: Watched) -> bool:
    watched.awaiting = 100
    return watched.goes(0.1, rate=300, takes=0.2) or watched.goes(1.5, rate=600, takes=0.3, grows=40)


def _over_within_one_wait(watched: Watched) -> bool:
    return watched.goes(0.1, takes=1.0) or watched.goes(1.0, takes=2.0, grows=400)


def _grows_on_no_more_than_by_chance(watched: Watched) -> bool:
    watched.awaiting = 300
    return watched.goes(30.0, rate=100, takes=None, grows=10)


def _slower_and_slower(watched: Watched) -> bool:
    return any(watched.goes(1.0, rate=100, takes=3 + second / 4, grows=100) for second in range(8))


@pytest.mark.parametrize(
    ("play", "proven"),
    [
        pytest.param(lambda it: it.goes(1.0, takes=None, grows=400), True, id="arrivals exceed capacity"),
        pytest.param(lambda it: it.goes(9.0), False, id="usual traffic"),
        pytest.param(_comes_all_at_once, False, id="a burst that drains"),
        pytest.param(lambda it: it.goes(9.0, takes=0.2), False, id="slower, same answer rate"),
        pytest.param(
            lambda it: it.goes(1.0, takes=0.2, grows=400), False, id="backlog grows, latency does not"
        ),
        pytest.param(
            lambda it: it.goes(1.0, takes=None, low=0.02, grows=400),
            False,
            id="the fastest answers are as fast as ever",
        ),
        pytest.param(
            lambda it: it.goes(1.0, takes=None, low=0.065, grows=400),
            False,
            id="three times the usual latency, but only by 45 ms",
        ),
        pytest.param(_slower_and_full_again, False, id="slower, more in flight until it recovers"),
        pytest.param(
            lambda it: it.goes(60.0, rate=100, takes=None, grows=100),
            True,
            id="half the capacity, usual arrivals",
        ),
        pytest.param(
            lambda it: it.goes(0.9, rate=100, takes=None, grows=100),
            False,
            id="half the capacity, for less than a second",
        ),
        pytest.param(
            lambda it: it.goes(9.0, takes=None, low=0.05, rate=200, grows=6),
            False,
            id="slightly slower than usual",
        ),
        pytest.param(_grows_no_more_than_by_chance, False, id="no more growth than chance explains"),
        pytest.param(_few_of_many_wait, False, id="nearly all are answered"),
        pytest.param(
            _it_answers_faster_than_the_backlog_grows, False, id="the backlog grows, its waiting time falls"
        ),
        pytest.param(_over_within_one_wait, False, id="growth for less than one waiting time"),
        pytest.param(
            _grows_on_no_more_than_by_chance,
            False,
            id="half the capacity, no more growth than chance explains",
        ),
        pytest.param(_slower_and_slower, False, id="a request takes 3 to 5 s, for 8 s"),
        pytest.param(
            lambda it: it.goes(60.0, rate=100, takes=0.3, grows=50),
            False,
            id="ever more go unanswered, the others wait no longer",
        ),
        pytest.param(
            lambda it: it.goes(3.0, takes=0.3, leave=250),
            False,
            id="many leave, the usual number is answered",
        ),
        pytest.param(
            _answers_less_then_more_comes, False, id="half the capacity, then a short rise of arrivals"
        ),
        pytest.param(
            lambda it: it.goes(3.0, rate=50, takes=0.3, leave=300),
            False,
            id="a quarter is answered, more leave than are answered: a case for `WastedWork`",
        ),
        pytest.param(
            lambda it: it.goes(3.0, rate=50, takes=0.3, grows=300, leave=40),
            False,
            id="a quarter is answered, fewer leave than are answered",
        ),
    ],
)
def test_which_traffic_proves_a_backlog(play: Callable[[Watched], bool], proven: bool) -> None:
    assert play(Watched()) is proven


def test_latency_below_three_times_the_usual_is_no_backlog() -> None:
    watched = Watched(takes=0.1)
    assert not watched.goes(1.0, takes=None, low=0.28, grows=400)
    assert not watched.detector.suspicious


def test_arrivals_above_capacity_prove_a_backlog_within_half_a_second() -> None:
    watched = Watched()
    assert watched.goes(1.0, takes=None, grows=400)
    assert watched.proven_after <= 0.5
    assert watched.detector.swelled


def test_at_the_usual_arrival_rate_a_backlog_must_grow_for_over_6s() -> None:
    watched = Watched()
    assert watched.goes(60.0, rate=100, takes=None, grows=100)
    assert watched.proven_after > 6.0
    assert not watched.detector.swelled


def test_growth_that_stops_is_counted_from_zero_again() -> None:
    watched = Watched()
    for _ in range(4):
        assert not watched.goes(4.0, rate=100, takes=None, grows=50)
        assert not watched.goes(8.0, rate=100, takes=0.5, grows=-25)


def test_the_first_quick_window_ends_a_suspicion() -> None:
    watched = Watched()
    watched.goes(0.2, takes=0.2, grows=400)
    assert watched.detector.suspicious
    watched.goes(0.1, takes=0.02)
    assert not watched.detector.suspicious


def test_usual_values_are_learned_while_there_is_no_backlog() -> None:
    detector = Watched().detector
    assert detector.unloaded == pytest.approx(0.02)
    assert detector.rate == pytest.approx(200)
    assert detector.usual_awaiting == pytest.approx(4, rel=0.05)
    assert detector.service == pytest.approx(0.02, rel=0.05)


def test_usual_values_are_not_learned_from_a_backlog() -> None:
    watched = Watched()
    watched.goes(0.1, takes=0.2, grows=20)
    before = watched.detector.usual_awaiting
    assert before == pytest.approx(4, rel=0.01)
    watched.goes(4.9, takes=0.2, grows=20)
    assert watched.detector.usual_awaiting == before


def grown(seconds: float, after: float = 20.0) -> Watched:
    """For `seconds` 100 more a second wait and 300 instead of 200 are answered, at the usual latency; then
    the next window is suspicious."""
    watched = Watched(after)
    watched.goes(seconds, rate=300, grows=100)
    assert watched.detector.usual_awaiting > 5
    assert watched.detector.usual_rate > 210
    watched.goes(0.1, takes=0.2)
    assert watched.detector.suspicious
    return watched


@pytest.mark.parametrize("after", [20.0, 20.3, 20.6])
def test_values_learned_just_before_a_suspicion_are_forgotten(after: float) -> None:
    """A backlog raises the number of waiting requests before it raises the latency."""
    detector = grown(0.8, after).detector
    assert detector.usual_awaiting == pytest.approx(4, rel=0.01)
    assert detector.usual_rate == pytest.approx(200, rel=0.01)
    assert detector.service == pytest.approx(0.02, rel=0.01)


def test_values_learned_long_before_a_suspicion_are_kept() -> None:
    assert grown(4.0).detector.usual_awaiting > 20


def test_forgotten_values_are_restored_if_the_suspicion_was_wrong() -> None:
    watched = Watched()
    watched.goes(0.8, rate=300, grows=100)
    detector = watched.detector
    before = detector.usual_awaiting, detector.usual_rate, detector.service
    watched.goes(0.3, takes=0.2)
    assert detector.usual_awaiting < before[0] / 1.2
    watched.goes(0.1, takes=0.02)
    assert not detector.suspicious
    assert (detector.usual_awaiting, detector.usual_rate, detector.service) == before


def test_the_unloaded_time_falls_to_1_over_e_of_the_difference_in_2s() -> None:
    watched = Watched()
    watched.goes(2.0, takes=0.01)
    assert watched.detector.unloaded == pytest.approx(0.01 + 0.01 / e, rel=0.01)


@pytest.mark.parametrize(
    ("known", "after"),
    [
        pytest.param(0.1, 2.0, id="just after the start"),
        pytest.param(60.0, 60.0 * log(2), id="a minute after it"),
    ],
)
def test_the_unloaded_time_doubles_in_the_documented_time(known: float, after: float) -> None:
    watched = Watched(known)
    watched.goes(after, takes=0.1)
    assert watched.detector.unloaded == pytest.approx(0.04, rel=0.05)


def test_the_unloaded_time_rises_to_the_real_latency() -> None:
    watched = Watched()
    watched.goes(180.0, takes=0.1)
    assert watched.detector.unloaded == pytest.approx(0.1)


def test_requests_that_are_never_answered_count_in_the_service_time() -> None:
    """By Little's law: 100 long polls are in flight besides 200 answers a second."""
    watched = Watched(0.1)
    watched.awaiting = 100
    watched.goes(60.0)
    assert watched.detector.service == pytest.approx(0.5, rel=0.01)


def test_rate_while_suspicious_is_the_rate_of_the_backlog() -> None:
    watched = Watched()
    assert watched.detector.rate_while_suspicious(watched.now) == pytest.approx(200)
    watched.goes(0.5, rate=120, takes=0.2)
    assert watched.detector.rate_while_suspicious(watched.now) == pytest.approx(120)


def test_a_detector_begun_like_another_copies_its_usual_values() -> None:
    other = Watched().detector
    detector = BacklogDetector()
    detector.begin_like(other)
    assert (detector.unloaded, detector.service, detector.rate, detector.usual_awaiting) == (
        other.unloaded,
        other.service,
        other.rate,
        other.usual_awaiting,
    )


def test_a_detector_begun_anew_derives_the_usual_number_from_the_service_time() -> None:
    watched = Watched()
    watched.goes(0.2, takes=0.2, grows=400)
    watched.detector.service = 0.1
    watched.detector.begin_anew()
    assert not watched.detector.suspicious
    assert watched.detector.usual_awaiting == pytest.approx(20, rel=0.05)


def held(mean: float, seconds: float = 1.0) -> Window:
    return Window(seconds, 200, 200.0, mean, mean, 8, 8.0, 0, 0, 1.0)


def test_under_a_limit_the_service_time_is_at_most_the_observed_latency() -> None:
    detector = Watched().detector
    for _ in range(30):
        detector.held(held(0.01))
    assert detector.service == pytest.approx(0.01, rel=0.01)


def test_a_service_time_found_under_a_limit_decays() -> None:
    detector = Watched().detector
    detector.service = 0.1
    detector.held(held(0.2))
    assert 0.09 < detector.service < 0.1
    detector.held(held(0.2, 200.0))
    assert detector.service == pytest.approx(0.02, rel=0.05)


def test_a_sudden_drop_of_waiting_requests_is_not_a_negative_arrival_rate() -> None:
    """An app that held many long polls restarts: the usual number of arrivals becomes zero, not negative."""
    watched = Watched()
    watched.awaiting = 4004
    watched.goes(5.0)
    watched.goes(0.1, grows=-40000)
    watched.goes(2.5)
    watched.goes(0.5, takes=0.3, grows=400)
    assert watched.detector.suspicious
