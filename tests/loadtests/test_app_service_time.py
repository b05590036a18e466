"""The app replica's service times: parsing and drawing."""

from random import Random
from statistics import fmean, quantiles

import pytest

from loadtests.app.errors import SwitchError
from loadtests.app.service_time import parse

DRAWS = 20_000

MEANS = {
    "20ms": 0.02,
    "fixed:1.5s": 1.5,
    "uniform:10ms-30ms": 0.02,
    "exponential:20ms": 0.02,
    "lognormal:20ms": 0.02,
}


@pytest.mark.parametrize("text", MEANS)
def test_the_mean_is_the_given_one(text: str) -> None:
    rng = Random(11)
    distribution = parse(text)
    assert fmean(distribution.draw(rng) for _ in range(DRAWS)) == pytest.approx(MEANS[text], rel=0.03)


def test_a_uniform_time_stays_within_its_bounds() -> None:
    rng = Random(12)
    distribution = parse("uniform:10ms-30ms")
    drawn = [distribution.draw(rng) for _ in range(DRAWS)]
    assert 0.010 <= min(drawn) < 0.011
    assert 0.029 < max(drawn) <= 0.030


def test_a_lognormal_time_has_a_long_tail() -> None:
    rng = Random(13)
    distribution = parse("lognormal:20ms")
    assert quantiles((distribution.draw(rng) for _ in range(DRAWS)), n=100)[-1] == pytest.approx(
        0.094, rel=0.1
    )


@pytest.mark.parametrize("kind", ["fixed", "exponential", "lognormal"])
def test_zero_takes_no_time(kind: str) -> None:
    assert parse(f"{kind}:0").draw(Random(14)) == 0.0


@pytest.mark.parametrize("text", MEANS)
def test_a_service_time_round_trips(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


WRONG = [
    "",
    "fast",
    "-1",
    "1h",
    "7200",
    "uniform:1s",
    "uniform:2s-1s",
    "gamma:1s",
    "fixed:",
    "1e3",
    "nan",
    "20ms 3",
]


@pytest.mark.parametrize("text", WRONG)
def test_an_invalid_service_time_is_refused(text: str) -> None:
    with pytest.raises(SwitchError, match="is not a"):
        parse(text)
