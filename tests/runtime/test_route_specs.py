"""Whose timeouts and body limit a route has: its own, else its pool's, else those of the top."""

import json
from typing import Any

import pytest

from balancer.config.loader import load, load_with_origins
from balancer.runtime.blueprint import instance_spec
from balancer.spec.worker import FOREVER_NS, RouteSpec

SECOND = 10**9
POOLS = {
    "UPSTREAMS": "w:80",
    "TIMEOUTS__FIRST_BYTE": "3s",
    "TIMEOUTS__TUNNEL_DRAIN": "3s",
    "LIMITS__BODY_BYTES": "3",
    "POOLS__API__UPSTREAMS": "a:80",
    "POOLS__API__TIMEOUTS__FIRST_BYTE": "9s",
    "POOLS__API__TIMEOUTS__TUNNEL_DRAIN": "0",
    "POOLS__API__LIMITS__BODY_BYTES": "9",
    "POOLS__SLOW__UPSTREAMS": "s:80",
    "POOLS__SLOW__TIMEOUTS__FIRST_BYTE": "0",
    "POOLS__SLOW__LIMITS__BODY_BYTES": "0",
}


def environ(**values: str) -> dict[str, str]:
    return {f"BALANCER_{name}": value for name, value in values.items()}


def made(route: dict[str, Any], **values: str) -> tuple[RouteSpec, ...]:
    settings = load(environ(**POOLS, ROUTES=json.dumps([{"match": {"path": "/x"}, **route}]), **values))
    return instance_spec(settings, via="x", max_connections=10).worker.routes


@pytest.mark.parametrize(
    ("route", "first_byte", "tunnel_drain", "body"),
    [
        pytest.param({"pool": "default"}, 3, 3, 3, id="the pool of the top"),
        pytest.param({"pool": "api"}, 9, 0, 9, id="its pool's"),
        pytest.param({"pool": "slow"}, FOREVER_NS, 3, 0, id="none, and what the pool does not set"),
        pytest.param(
            {"pool": "api", "timeouts": {"first_byte": "5s"}, "limits": {"body_bytes": 5}},
            5,
            0,
            5,
            id="its own",
        ),
        pytest.param({"split": {"api": 1, "default": 1}}, 9, 3, 9, id="the largest of the sides"),
        pytest.param({"split": {"api": 1, "slow": 1}}, FOREVER_NS, 3, 0, id="none is the largest"),
        pytest.param({"redirect": "/y"}, 3, 3, 3, id="no pool"),
    ],
)
def test_a_route_has_its_own_value_else_its_pools(
    route: dict[str, Any], first_byte: int, tunnel_drain: int, body: int
) -> None:
    spec = made(route)[0]
    assert spec.timeouts.first_byte_ns == (first_byte if first_byte == FOREVER_NS else first_byte * SECOND)
    assert spec.timeouts.tunnel_drain_ns == tunnel_drain * SECOND
    assert spec.body_bytes == body


def test_requests_without_a_route_have_the_values_of_the_top() -> None:
    unmatched = made({"pool": "api"})[-1]
    assert (unmatched.timeouts.first_byte_ns, unmatched.body_bytes) == (3 * SECOND, 3)


def test_the_only_pool_has_its_own_values_without_routes() -> None:
    values = environ(POOLS__API__UPSTREAMS="a:80", POOLS__API__TIMEOUTS__IDLE="7s", TIMEOUTS__TOTAL="8s")
    (route,) = instance_spec(load(values), via="x", max_connections=10).worker.routes
    assert (route.timeouts.idle_ns, route.timeouts.total_ns) == (7 * SECOND, 8 * SECOND)


def test_a_pools_timeout_that_another_one_of_it_ends_is_reported() -> None:
    values = environ(
        POOLS__API__UPSTREAMS="a:80", POOLS__API__TIMEOUTS__FIRST_BYTE="9s", TIMEOUTS__TOTAL="8s"
    )
    assert load_with_origins(values).warnings == (
        'BALANCER_POOLS__API__TIMEOUTS__FIRST_BYTE: "9s" has no effect because TIMEOUTS__TOTAL (8s) is not '
        "longer; raise TIMEOUTS__TOTAL, or lower this",
    )


@pytest.mark.parametrize(("own", "reported"), [({}, 1), ({"POOLS__API__TIMEOUTS__TOTAL": "20s"}, 0)])
def test_a_timeout_of_the_top_is_reported_if_it_has_no_effect_in_any_pool(
    own: dict[str, str], reported: int
) -> None:
    values = {"POOLS__API__UPSTREAMS": "a:80", "TIMEOUTS__FIRST_BYTE": "9s", "TIMEOUTS__TOTAL": "8s", **own}
    assert len(load_with_origins(environ(**values)).warnings) == reported
