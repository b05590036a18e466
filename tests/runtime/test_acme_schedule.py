"""When certificates are ordered: at two thirds of their lives, and later after each failure."""

import pytest

from balancer.acme.problem import Cause
from balancer.runtime import acme_schedule as schedule
from balancer.runtime.acme_parts import Failed, Ordered, State
from balancer.spec.tls import CertificateSpec

DAY, HOUR = 86400.0, 3600.0
NOW = 1_000_000_000.0


def certificate(begun: float, lifetime: float) -> CertificateSpec:
    """One that was issued `begun` seconds before NOW."""
    since = NOW - begun
    return CertificateSpec(
        label="a", names=("a",), chain=b"", key=b"", not_before=since, not_after=since + lifetime
    )


@pytest.mark.parametrize("lifetime", [90 * DAY, 6 * DAY, HOUR, 9.0], ids=["90 d", "6 d", "1 h", "9 s"])
def test_a_certificate_is_renewed_when_two_thirds_of_its_life_are_over(lifetime: float) -> None:
    one = certificate(0, lifetime)
    assert schedule.renewal(one, 0.0) == pytest.approx(NOW + lifetime * 2 / 3)
    assert schedule.renewal(one, 1.0) == pytest.approx(NOW + lifetime * 0.7)


@pytest.mark.parametrize(
    ("one", "state", "when"),
    [
        pytest.param(None, State(), NOW, id="there is none"),
        pytest.param(None, State(not_before=NOW + 60), NOW + 60, id="none, after a failure"),
        pytest.param(certificate(61 * DAY, 90 * DAY), State(), NOW - DAY, id="due since yesterday"),
        pytest.param(certificate(0, 90 * DAY), State(not_before=NOW + 60), NOW + 60 * DAY, id="not due"),
        pytest.param(
            certificate(89 * DAY, 90 * DAY), State(not_before=NOW + HOUR), NOW + HOUR, id="near its end"
        ),
        pytest.param(None, State(at=NOW + HOUR, not_before=NOW + 7200), NOW + 7200, id="clocks apart"),
        pytest.param(None, State(at=NOW + DAY, not_before=NOW + DAY + 60), NOW, id="a clock that was wrong"),
    ],
)
def test_an_order_is_due(one: CertificateSpec | None, state: State, when: float) -> None:
    assert schedule.due(one, state, 0.0, NOW) == pytest.approx(when)


def waits(cause: Cause, times: int, jitter: float = 0.0, retry_after: float = 0.0) -> list[float]:
    """The waits after failures in a row."""
    state, now, found = State(), NOW, []
    for _ in range(times):
        failure = Failed(cause=cause, why="no", retry_after=retry_after)
        state = schedule.failed(state, failure, jitter, now)
        found.append(state.not_before - now)
        now = state.not_before
    return found


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        pytest.param(Cause.UNREACHABLE, [30, 60, 120, 240, 480, 960, 1920, HOUR, HOUR], id="unreachable"),
        pytest.param(
            Cause.REFUSED, [600, 1200, 2400, 4800, 9600, 19200, 38400, 12 * HOUR, 12 * HOUR], id="refused"
        ),
        pytest.param(Cause.CHALLENGE, [2, 1200, 2400, 4800], id="nothing was found"),
        pytest.param(Cause.LIMITED, [HOUR, HOUR, HOUR, 4800], id="too many orders"),
    ],
)
def test_each_failure_in_a_row_waits_longer(cause: Cause, expected: list[float]) -> None:
    assert waits(cause, len(expected)) == pytest.approx(expected)


def test_an_authority_that_was_away_does_not_make_what_it_refuses_later_wait_longer() -> None:
    state, waits = State(), []
    for cause in (Cause.UNREACHABLE, Cause.UNREACHABLE, Cause.CHALLENGE, Cause.REFUSED, Cause.UNREACHABLE):
        state = schedule.failed(state, Failed(cause=cause, why="no"), 0.0, NOW)
        waits.append(state.not_before - NOW)
    assert waits == [30, 60, 2, 1200, 30]


def test_jitter_makes_a_wait_up_to_a_quarter_longer() -> None:
    assert waits(Cause.REFUSED, 1, jitter=1.0) == pytest.approx([750])


@pytest.mark.parametrize("cause", list(Cause))
def test_what_the_authority_says_is_the_least_wait(cause: Cause) -> None:
    assert waits(cause, 2, retry_after=2 * DAY) == pytest.approx([2 * DAY, 2 * DAY])
    assert waits(cause, 1, retry_after=30 * DAY) == pytest.approx([7 * DAY])


def test_failed_validations_stay_below_five_an_hour() -> None:
    """Let's Encrypt allows five per account, host and hour."""
    moments = [0.0]
    for wait in waits(Cause.CHALLENGE, 9):
        moments.append(moments[-1] + wait)
    for first in range(len(moments) - 4):
        assert moments[first + 4] - moments[first] > HOUR


def test_the_kinds_of_challenges_take_turns_and_the_one_that_worked_stays() -> None:
    state, kinds = State(), []
    for _ in range(4):
        kinds.append(schedule.kind(state))
        state = schedule.failed(state, Failed(cause=Cause.CHALLENGE, why="no"), 0.0, NOW)
    assert kinds == ["http-01", "tls-alpn-01", "http-01", "tls-alpn-01"]
    done = Ordered(challenge="tls-alpn-01", not_before=NOW, not_after=NOW + 90 * DAY)
    state = schedule.succeeded(done, state, NOW)
    assert (state.failures, state.error, schedule.kind(state)) == (0, "", "tls-alpn-01")
    reused = Ordered(challenge="", not_before=NOW, not_after=NOW + 90 * DAY)
    assert schedule.kind(schedule.succeeded(reused, state, NOW)) == "tls-alpn-01"


@pytest.mark.parametrize("cause", [Cause.UNREACHABLE, Cause.REFUSED, Cause.LIMITED])
def test_other_failures_keep_the_kind_of_challenge(cause: Cause) -> None:
    state = schedule.failed(State(challenge="tls-alpn-01"), Failed(cause=cause, why="no"), 0.0, NOW)
    assert schedule.kind(state) == "tls-alpn-01"


def test_a_clock_that_was_years_ahead_holds_nothing_up() -> None:
    wrong = NOW + 3650 * DAY
    failure = Failed(cause=Cause.UNREACHABLE, why="ca.test cannot be trusted: certificate has expired")
    for state in (
        schedule.begun(State(), wrong),
        schedule.stopped(State(), wrong),
        schedule.failed(State(), failure, 0.0, wrong),
    ):
        assert schedule.due(None, state, 0.0, NOW) == NOW


@pytest.mark.parametrize(("lifetime", "rest"), [(90 * DAY, HOUR), (60.0, 15.0)])
def test_after_a_success_nothing_is_ordered_for_a_while(lifetime: float, rest: float) -> None:
    """A wrong clock makes a certificate expire on arrival."""
    done = Ordered(challenge="http-01", not_before=NOW - 99 * DAY, not_after=NOW - 99 * DAY + lifetime)
    state = schedule.succeeded(done, State(), NOW)
    assert schedule.due(None, state, 0.0, NOW) == NOW + rest
