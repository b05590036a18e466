"""The figures of `balancer top`, and its table at any width."""

from typing import Any

import pytest

from balancer.console.top_rates import MIXED, Look, PoolRow, Row, UpstreamRow, bounds, ordered, rows
from balancer.console.top_table import lines, rate, table
from tests.console.top_answers import BOUNDS, answer, one, text_of

LONG = "some-very-long-name-of-a-replica.internal.example:8000"


def looked(*answers: dict[str, Any], seconds: float = 2.0, place: str = "a") -> Look:
    *before, now = answers
    return Look(place, now, before[0] if before else None, seconds)


def only(*looks: Look) -> PoolRow:
    (pool,) = rows(looks)
    return pool


def test_rates_are_differences_of_two_looks() -> None:
    pool = only(looked(answer(one("app1", 100, 10)), answer(one("app1", 300, 14))))
    total = pool.upstreams["app1"].total
    assert (total.requests, total.errors, total.codes) == (100.0, 2.0, {"200": 98.0, "503": 2.0})
    assert total.buckets == [0, 200, 0, 0, 0]


def test_connections_that_failed_are_errors() -> None:
    before, now = one("app1", connect_failures={"refused": 1}), one("app1", connect_failures={"refused": 7})
    assert only(looked(answer(before), answer(now))).total.errors == 3.0


def test_after_one_look_there_are_no_rates() -> None:
    assert not only(looked(answer(one("app1", 100)))).total.known


def test_counts_that_began_again_are_no_negative_rates() -> None:
    pool = only(looked(answer(one("app1", 1000, 500)), answer(one("app1", 20, 4))))
    assert (pool.total.requests, pool.total.errors, pool.total.buckets[1]) == (10.0, 2.0, 20)


def test_instances_are_added_up() -> None:
    first = looked(
        answer(one("app1"), one("app2")), answer(one("app1", 20, inflight=1, inflight_limit=8), one("app2"))
    )
    second = looked(answer(one("app1")), answer(one("app1", 40, inflight=2, inflight_limit=8)), place="b")
    app1 = only(first, second).upstreams["app1"]
    assert (app1.total.requests, app1.total.inflight, app1.total.limit) == (30.0, 3, 16)
    assert {place: figures.requests for place, figures in app1.each.items()} == {"a": 10.0, "b": 20.0}


def test_an_upstream_in_several_states_is_mixed_and_coloured_by_the_worst() -> None:
    ejected = one("app1", causes=["outlier"], eligible=False)
    pool = only(looked(answer(one("app1"))), looked(answer(ejected), place="b"))
    app1 = pool.upstreams["app1"]
    assert (app1.state(), app1.worst(), pool.eligible()) == (MIXED, "ejected", 0)


def test_what_a_pool_refuses_is_a_rate_and_its_queue_a_sum() -> None:
    before = answer(one("app1"), queue_rejected={"full": 1, "timeout": 1})
    now = answer(one("app1"), queue_rejected={"full": 5, "timeout": 3}, queue_length=4)
    pool = only(looked(before, now), looked(before, now, place="b"))
    assert (pool.refused, pool.queue) == (6.0, 8)


def names_of(found: list[Row]) -> list[str]:
    return [row.id for row in found if isinstance(row, UpstreamRow)]


def test_pools_are_sorted_too_and_keep_their_upstreams() -> None:
    nothing = {
        **answer(one("a")),
        "pools": [*answer(one("a"))["pools"], *answer(one("b"), name="web")["pools"]],
    }
    now = {**nothing, "pools": [*answer(one("a", 9))["pools"], *answer(one("b", 99), name="web")["pools"]]}
    first, second = rows([looked(nothing, now)])
    assert ordered([first, second], "name") == [first, first.upstreams["a"], second, second.upstreams["b"]]
    assert ordered([first, second], "rps") == [second, second.upstreams["b"], first, first.upstreams["a"]]


SLOW = one("slow", 10, inflight=1, first_byte_buckets=[0, 0, 0, 10, 0])
ORDER = [
    pytest.param("name", ["busy", "slow", "bad"], id="name"),
    pytest.param("rps", ["busy", "slow", "bad"], id="rps"),
    pytest.param("errors", ["bad", "busy", "slow"], id="errors"),
    pytest.param("latency", ["slow", "busy", "bad"], id="latency"),
    pytest.param("inflight", ["slow", "busy", "bad"], id="inflight"),
]


@pytest.mark.parametrize(("order", "names"), ORDER)
def test_rows_are_sorted_by_a_figure_and_else_stay_as_in_the_settings(order: str, names: list[str]) -> None:
    nothing = answer(one("busy"), one("slow"), one("bad"))
    pool = only(looked(nothing, answer(one("busy", 50), SLOW, one("bad", 5, 5))))
    assert names_of(ordered([pool], order)) == names


def test_rows_that_hardly_differ_keep_their_places() -> None:
    pool = only(looked(answer(one("a"), one("b")), answer(one("a", 396), one("b", 398))))
    assert names_of(ordered([pool], "rps")) == ["a", "b"]


@pytest.mark.parametrize(
    ("per_second", "shown"), [(0, "0"), (0.24, "0.2"), (9.96, "10.0"), (1234.5, "1,234")]
)
def test_rates_have_digits_where_they_say_something(per_second: float, shown: str) -> None:
    assert rate(per_second) == shown


LARGE = one(
    LONG, 2_000_000, 700_000, inflight=12_345, inflight_limit=20_000, first_byte_buckets=[0, 0, 0, 0, 1]
)


@pytest.mark.parametrize("width", [50, 60, 70, 80, 100, 160])
@pytest.mark.parametrize("last", [LARGE, one("app1:8000", 10)], ids=["large", "small"])
def test_a_narrow_console_has_fewer_columns_but_whole_figures(width: int, last: dict[str, Any]) -> None:
    shown = lines(
        ordered(
            [only(looked(answer(), answer(last)), looked(answer(one(last["id"])), answer(last)))], "name"
        ),
        BOUNDS,
    )
    printed = text_of(table(shown, width), width)
    assert len(printed) == 3  # nothing is folded
    assert max(map(len, printed)) <= width
    assert {"rps", "err/s", "p99", "inflight"} <= {*printed[0].split()}
    if width >= 80 and last is not LARGE:
        assert printed[0].split()[2:] == ["state", "rps", "err/s", "p50", "p95", "p99", "inflight", "queue"]
        assert printed[2].split() == [
            "app1:8000",
            "active",
            "5.0",
            "0",
            "10",
            "ms",
            "10",
            "ms",
            "10",
            "ms",
            "0",
        ]


def test_a_long_name_keeps_its_ends() -> None:
    printed = text_of(table(lines(ordered([only(looked(answer(one(LONG))))], "name"), BOUNDS), 80), 80)
    assert printed[2].startswith("  some-")
    assert "\u2026" in printed[2]
    assert ":8000 active" in printed[2]


def test_instances_with_other_bounds_are_shown_over_those_that_all_have() -> None:
    finer = {
        **answer(one("app1:8000", 0, first_byte_buckets=[0] * 6)),
        "first_byte_bounds": [0.001, 0.01, 0.05, 0.1, 1.0],
    }
    later = {
        **answer(one("app1:8000", 100, first_byte_buckets=[0, 0, 90, 10, 0, 0])),
        "first_byte_bounds": finer["first_byte_bounds"],
    }
    looks = [
        Look("a", answer(one("app1:8000", 100)), answer(one("app1:8000", 0)), 1.0),
        Look("b", later, finer, 1.0),
    ]
    (pool,) = rows(looks)
    assert (bounds(looks), pool.total.buckets) == (BOUNDS, [0, 100, 100, 0, 0])


def test_a_look_after_a_reload_that_has_added_a_bound_has_the_common_ones() -> None:
    now = {
        **answer(one("app1:8000", 100, first_byte_buckets=[0, 0, 90, 10, 0, 0])),
        "first_byte_bounds": [0.001, 0.01, 0.05, 0.1, 1.0],
    }
    (pool,) = rows([Look("a", now, answer(one("app1:8000", 40, first_byte_buckets=[0, 0, 40, 0, 0])), 1.0)])
    assert pool.total.buckets == [0, 0, 60, 0, 0]
