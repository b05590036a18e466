"""How many upstreams a pool can lose."""

import pytest

from balancer.overview.losing import SLICE, SLICES, Served, can_lose, shares


@pytest.mark.parametrize(
    ("load", "most", "overloaded", "n", "text"),
    [
        pytest.param(100, [50, 50, 50, 50], False, 2, "can lose 2 of 4", id="half of them would do"),
        pytest.param(
            100, [100, 10, 10], False, None, "not known", id="those that have shown most may be lost"
        ),
        pytest.param(
            90,
            [30, 30, 30],
            False,
            None,
            "each other would get 45/s, and none has served more than 30/s",
            id="never seen to serve more",
        ),
        pytest.param(100, [200, 200], False, 1, "can lose 1 of 2", id="one does for both"),
        pytest.param(100, [200], False, 0, "cannot lose its only upstream", id="one"),
        pytest.param(100, [], False, 0, "none is left to lose", id="none"),
        pytest.param(100, [50, 50, 50, 50], True, 0, "it is overloaded", id="overloaded"),
        pytest.param(0.4, [50, 50], False, None, "there is no load to judge by", id="no load"),
    ],
)
def test_judged_by_what_the_others_have_served(
    load: float, most: list[float], overloaded: bool, n: int | None, text: str
) -> None:
    found = can_lose(load, most, overloaded)
    assert (found["n"], found["of"]) == (n, len(most))
    assert text in found["text"]


def test_the_most_that_was_served_is_that_of_the_last_half_hour() -> None:
    served, key = Served(), ("pool", "a")
    assert served.most(key) == 0.0
    for number, rate in enumerate((50.0, 80.0, 20.0)):
        served.see(number * 1.0, {key: rate})
    assert served.most(key) == 80.0
    for minute in range(1, SLICES + 1):
        served.see(minute * SLICE, {key: 20.0})
    assert served.most(key) == 20.0


def test_shares_add_up_to_one_or_are_not_known() -> None:
    assert shares([1, 3]) == [0.25, 0.75]
    assert shares([0, 0]) == [None, None]
