"""What counts as proof of a backlog at an upstream, and what does not."""

from collections.abc import Callable
from math import e, log

import pytest

from balancer.limits.backlog import BacklogDetector
from balancer.limits.window import Window

_STRETCH = 0.1  # seconds


class Watched:
    """An upstream that answers 200 requests a second after 20 ms each, and has done so for a while."""

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
        """So it goes on until a backlog is proven: whether it is. `takes` None: as long as those waited who
        came first into the backlog that grows; `grows` and `leave` are a second."""
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
        pytest.param(lambda it: it.goes(1.0, takes=None, grows=400), True, id="more comes than it can do"),
        pytest.param(lambda it: it.goes(9.0), False, id="all as usual"),
        pytest.param(_comes_all_at_once, False, id="much at once, that drains"),
        pytest.param(lambda it: it.goes(9.0, takes=0.2), False, id="slower, answers keep up"),
        pytest.param(
            lambda it: it.goes(1.0, takes=0.2, grows=400), False, id="those answered last waited no longer"
        ),
        pytest.param(
            lambda it: it.goes(1.0, takes=None, low=0.02, grows=400),
            False,
            id="the quickest are as quick as ever",
        ),
        pytest.param(
            lambda it: it.goes(1.0, takes=None, low=0.065, grows=400),
            False,
            id="three times the usual time, but nobody notices so little",
        ),
        pytest.param(_slower_and_full_again, False, id="slower, and more in flight until that is over"),
        pytest.param(
            lambda it: it.goes(60.0, rate=100, takes=None, grows=100),
            True,
            id="it does half, and as much comes",
        ),
        pytest.param(
            lambda it: it.goes(0.9, rate=100, takes=None, grows=100),
            False,
            id="it does half, for less than a second",
        ),
        pytest.param(
            lambda it: it.goes(9.0, takes=None, low=0.05, rate=200, grows=6),
            False,
            id="a little longer than usual",
        ),
        pytest.param(_grows_no_more_than_by_chance, False, id="no more growth than chance explains"),
        pytest.param(_few_of_many_wait, False, id="next to all are answered"),
        pytest.param(
            _it_answers_faster_than_the_backlog_grows, False, id="the backlog grows, and is shorter in time"
        ),
        pytest.param(_over_within_one_wait, False, id="growth for less time than one waits"),
        pytest.param(
            _grows_on_no_more_than_by_chance,
            False,
            id="it does half, and no more growth than chance explains",
        ),
        pytest.param(_slower_and_slower, False, id="a request takes 3 to 5 s, for 8 s"),
        pytest.param(
            lambda it: it.goes(60.0, rate=100, takes=0.3, grows=50),
            False,
            id="more and more are not answered, the others wait no longer",
        ),
        pytest.param(
            lambda it: it.goes(3.0, takes=0.3, leave=250),
            False,
            id="many leave, as many as usual are answered",
        ),
        pytest.param(_answers_less_then_more_comes, False, id="it does half, more comes, for a moment"),
        pytest.param(
            lambda it: it.goes(3.0, rate=50, takes=0.3, leave=300),
            False,
            id="it answers a quarter, and more leave than are answered: `WastedWork` tells of that",
        ),
        pytest.param(
            lambda it: it.goes(3.0, rate=50, takes=0.3, grows=300, leave=40),
            False,
            id="it answers a quarter, and fewer leave than are answered",
        ),
    ],
)
def test_a_backlog_is_proven_by(play: Callable[[Watched], bool], proven: bool) -> None:
    assert play(Watched()) is proven


def test_less_than_three_times_the_usual_time_is_no_backlog() -> None:
    watched = Watched(takes=0.1)
    assert not watched.goes(1.0, takes=None, low=0.28, grows=400)
    assert not watched.detector.suspicious


def test_more_than_it_can_do_is_proven_soon() -> None:
    watched = Watched()
    assert watched.goes(1.0, takes=None, grows=400)
    assert watched.proven_after <= 0.5
    assert watched.detector.swelled


def test_where_no_more_comes_than_usual_growth_has_to_go_on_for_three_whiles() -> None:
    watched = Watched()
    assert watched.goes(60.0, rate=100, takes=None, grows=100)
    assert watched.proven_after > 6.0
    assert not watched.detector.swelled


def test_growth_that_ends_is_counted_from_the_beginning_again() -> None:
    watched = Watched()
    for _ in range(4):
        assert not watched.goes(4.0, rate=100, takes=None, grows=50)
        assert not watched.goes(8.0, rate=100, takes=0.5, grows=-25)


def test_suspicion_ends_with_the_first_quick_window() -> None:
    watched = Watched()
    watched.goes(0.2, takes=0.2, grows=400)
    assert watched.detector.suspicious
    watched.goes(0.1, takes=0.02)
    assert not watched.detector.suspicious


def test_what_is_usual_is_learned_while_there_is_no_backlog() -> None:
    detector = Watched().detector
    assert detector.unloaded == pytest.approx(0.02)
    assert detector.rate == pytest.approx(200)
    assert detector.usual_awaiting == pytest.approx(4, rel=0.05)
    assert detector.service == pytest.approx(0.02, rel=0.05)


def test_what_is_usual_is_not_learned_from_a_backlog() -> None:
    watched = Watched()
    watched.goes(0.1, takes=0.2, grows=20)
    before = watched.detector.usual_awaiting
    assert before == pytest.approx(4, rel=0.01)
    watched.goes(4.9, takes=0.2, grows=20)
    assert watched.detector.usual_awaiting == before


def grown(seconds: float, after: float = 20.0) -> Watched:
    """A hundred more a second wait, and 300 instead of 200 are answered, all as quick as ever; then the next
    window is suspicious."""
    watched = Watched(after)
    watched.goes(seconds, rate=300, grows=100)
    assert watched.detector.usual_awaiting > 5
    assert watched.detector.usual_rate > 210
    watched.goes(0.1, takes=0.2)
    assert watched.detector.suspicious
    return watched


@pytest.mark.parametrize("after", [20.0, 20.3, 20.6])
def test_what_was_learned_in_the_moment_before_a_suspicion_is_forgotten(after: float) -> None:
    """A backlog shows in how many wait before it shows in how long."""
    detector = grown(0.8, after).detector
    assert detector.usual_awaiting == pytest.approx(4, rel=0.01)
    assert detector.usual_rate == pytest.approx(200, rel=0.01)
    assert detector.service == pytest.approx(0.02, rel=0.01)


def test_what_was_learned_more_than_two_moments_before_a_suspicion_is_kept() -> None:
    assert grown(4.0).detector.usual_awaiting > 20


def test_what_was_forgotten_is_known_again_where_the_suspicion_was_wrong() -> None:
    watched = Watched()
    watched.goes(0.8, rate=300, grows=100)
    detector = watched.detector
    before = detector.usual_awaiting, detector.usual_rate, detector.service
    watched.goes(0.3, takes=0.2)
    assert detector.usual_awaiting < before[0] / 1.2
    watched.goes(0.1, takes=0.02)
    assert not detector.suspicious
    assert (detector.usual_awaiting, detector.usual_rate, detector.service) == before


def test_the_unloaded_time_falls_to_a_third_of_the_way_in_two_seconds() -> None:
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
def test_the_unloaded_time_doubles(known: float, after: float) -> None:
    watched = Watched(known)
    watched.goes(after, takes=0.1)
    assert watched.detector.unloaded == pytest.approx(0.04, rel=0.05)


def test_the_unloaded_time_rises_to_what_it_is() -> None:
    watched = Watched()
    watched.goes(180.0, takes=0.1)
    assert watched.detector.unloaded == pytest.approx(0.1)


def test_requests_that_are_never_answered_count_into_the_time_of_one() -> None:
    """By Little's law: 100 long polls lie there beside 200 answers a second."""
    watched = Watched(0.1)
    watched.awaiting = 100
    watched.goes(60.0)
    assert watched.detector.service == pytest.approx(0.5, rel=0.01)


def test_the_rate_while_suspicious_is_that_of_the_backlog() -> None:
    watched = Watched()
    assert watched.detector.rate_while_suspicious(watched.now) == pytest.approx(200)
    watched.goes(0.5, rate=120, takes=0.2)
    assert watched.detector.rate_while_suspicious(watched.now) == pytest.approx(120)


def test_begun_like_another_what_is_usual_there_is_usual_here() -> None:
    other = Watched().detector
    detector = BacklogDetector()
    detector.begin_like(other)
    assert (detector.unloaded, detector.service, detector.rate, detector.usual_awaiting) == (
        other.unloaded,
        other.service,
        other.rate,
        other.usual_awaiting,
    )


def test_begun_anew_as_many_wait_usually_as_the_time_of_one_says() -> None:
    watched = Watched()
    watched.goes(0.2, takes=0.2, grows=400)
    watched.detector.service = 0.1
    watched.detector.begin_anew()
    assert not watched.detector.suspicious
    assert watched.detector.usual_awaiting == pytest.approx(20, rel=0.05)


def held(mean: float, seconds: float = 1.0) -> Window:
    return Window(seconds, 200, 200.0, mean, mean, 8, 8.0, 0, 0, 1.0)


def test_under_a_limit_a_request_takes_no_longer_than_those_it_lets_in() -> None:
    detector = Watched().detector
    for _ in range(30):
        detector.held(held(0.01))
    assert detector.service == pytest.approx(0.01, rel=0.01)


def test_what_a_request_was_found_to_take_under_a_limit_fades() -> None:
    detector = Watched().detector
    detector.service = 0.1
    detector.held(held(0.2))
    assert 0.09 < detector.service < 0.1
    detector.held(held(0.2, 200.0))
    assert detector.service == pytest.approx(0.02, rel=0.05)


def test_that_far_fewer_wait_all_at_once_is_no_arrivals_below_none() -> None:
    """As when an app restarts that held many long polls: what is usual then is nothing, and not less."""
    watched = Watched()
    watched.awaiting = 4004
    watched.goes(5.0)
    watched.goes(0.1, grows=-40000)
    watched.goes(2.5)
    watched.goes(0.5, takes=0.3, grows=400)
    assert watched.detector.suspicious
