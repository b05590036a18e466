"""Upstreams that are ill, and serve nonetheless."""

import pytest

from balancer.overview.figures import NOTHING, Rates
from balancer.overview.oddity import LEAST, Oddities, standing_out


def rates(p95: float | None = 20.0, errors: float | None = 0.0, n: int = 200) -> Rates:
    return Rates(n / 10, n, errors, 0.0, 10.0, p95, p95, 0.0, 0.0)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        pytest.param(rates(p95=840.0), "its p95 is 840 ms, that of most others 20 ms", id="slow"),
        pytest.param(
            rates(errors=0.5), "50% of its 200 requests failed in 10 s, of the others' 0.0%", id="failing"
        ),
    ],
)
@pytest.mark.parametrize("others", [1, 2, 9])
def test_one_that_is_unlike_the_others_stands_out(odd: Rates, why: str, others: int) -> None:
    known = {"odd": odd} | {f"app{number}": rates() for number in range(others)}
    assert standing_out(known) == {"odd": why}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(rates(p95=840.0), rates(p95=840.0), id="all are slow"),
        pytest.param(rates(errors=0.5), rates(errors=0.4), id="all fail"),
        pytest.param(rates(p95=6.0), rates(p95=1.0), id="slower by little"),
        pytest.param(rates(p95=280.0), rates(p95=200.0), id="not much slower"),
        pytest.param(rates(errors=0.04), rates(), id="few errors"),
        pytest.param(rates(p95=840.0, n=LEAST - 1), rates(), id="too few requests"),
        pytest.param(rates(p95=840.0), NOTHING, id="nobody to compare it with"),
        pytest.param(rates(p95=840.0), rates(p95=None), id="the other has not answered"),
    ],
)
def test_nobody_stands_out(first: Rates, second: Rates) -> None:
    assert standing_out({"a": first, "b": second}) == {}


def test_since_is_when_it_was_first_seen_and_forgotten_once_it_is_like_the_others() -> None:
    oddities, key = Oddities(), ("web", "app1")
    oddities.see(100.0, {key: "its p95 is 840 ms"})
    oddities.see(110.0, {key: "its p95 is 900 ms"})
    assert oddities.of(key) == (100.0, "its p95 is 900 ms")
    oddities.see(120.0, {})
    assert oddities.of(key) is None
