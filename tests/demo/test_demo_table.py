"""The demo's table: quantiles as Prometheus estimates them, shares, and the plain form."""

from typing import Any

import pytest

from balancer.demo.table import ReplicaStats, plain_lines, quantile, read_stats, rows

BOUNDS = (0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [
        pytest.param(0.5, (0, 0, 0, 0), None, id="nothing counted"),
        pytest.param(0.5, (10, 0, 0, 0), 0.005, id="first bucket starts at zero"),
        pytest.param(0.5, (0, 10, 0, 0), 0.055, id="middle of a bucket"),
        pytest.param(0.5, (10, 10, 0, 0), 0.01, id="exactly at a bound"),
        pytest.param(0.95, (90, 10, 0, 0), 0.055, id="p95 in the second bucket"),
        pytest.param(0.95, (10, 0, 90, 0), 0.1 + 0.9 * 85 / 90, id="an empty bucket between"),
        pytest.param(0.95, (0, 0, 0, 10), 1.0, id="above the last bound"),
        pytest.param(0.0, (0, 10, 0, 0), 0.01, id="q 0 is the lower end"),
        pytest.param(1.0, (0, 10, 0, 0), 0.1, id="q 1 is the upper end"),
    ],
)
def test_quantiles(q: float, counts: tuple[int, ...], expected: float | None) -> None:
    assert quantile(q, BOUNDS, counts) == (None if expected is None else pytest.approx(expected))


def stats(address: str, requests: int, counts: tuple[int, ...] = (0, 0, 0, 0)) -> ReplicaStats:
    return ReplicaStats(address, "active", requests, 2, BOUNDS, counts)


def test_a_row_has_the_share_and_the_quantiles() -> None:
    first, second = rows(
        [stats("127.0.0.1:1", 3000, (3000, 0, 0, 0)), stats("127.0.0.1:2", 1000, (0, 0, 0, 1000))],
        {"127.0.0.1:1": "app1"},
    )
    assert first.cells == ("app1", "active", "3,000", "75%", "2", "5.0 ms", "9.5 ms")
    assert second.cells == ("127.0.0.1:2", "active", "1,000", "25%", "2", "1.00 s", "1.00 s")


def test_without_requests_no_figures_are_shown() -> None:
    (row,) = rows([stats("127.0.0.1:1", 0)], {})
    assert (row.share, row.p50, row.p95) == ("-", "-", "-")


def test_plain_lines_are_aligned() -> None:
    lines = plain_lines(rows([stats("127.0.0.1:1", 12345), stats("127.0.0.1:2", 0)], {"127.0.0.1:1": "app1"}))
    assert lines == [
        "replica      state   requests  share  inflight  p50  p95",
        "app1         active    12,345   100%         2    -    -",
        "127.0.0.1:2  active         0     0%         2    -    -",
    ]


def api_upstream(port: int, **changes: Any) -> dict[str, Any]:
    """The fields of an upstream in `/api/pools` that the demo reads."""
    return {
        "address": f"127.0.0.1:{port}",
        "admin_state": "active",
        "causes": [],
        "on_probation": False,
        "inflight": 2,
        "requests": 7,
        "first_byte_buckets": [7, 0, 0, 0],
        **changes,
    }


def api_pools(*pools: list[dict[str, Any]]) -> dict[str, Any]:
    return {"first_byte_bounds": list(BOUNDS), "pools": [{"upstreams": upstreams} for upstreams in pools]}


def test_stats_are_read_from_every_pool() -> None:
    assert read_stats(api_pools([api_upstream(1)], [api_upstream(2)])) == [
        stats("127.0.0.1:1", 7, (7, 0, 0, 0)),
        stats("127.0.0.1:2", 7, (7, 0, 0, 0)),
    ]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "active"),
        ({"causes": ["active_check"]}, "ejected"),
        ({"on_probation": True}, "probation"),
        ({"admin_state": "draining"}, "draining"),
        ({"admin_state": "draining", "causes": ["active_check"]}, "draining"),
    ],
    ids=str,
)
def test_states_are_named(changes: dict[str, Any], state: str) -> None:
    (one,) = read_stats(api_pools([api_upstream(1, **changes)]))
    assert one.state == state
