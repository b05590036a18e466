"""From settings to the `start` message: plain values only, every entity with a row, shares that add up."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND
from balancer.config.settings import Settings
from balancer.runtime.blueprint import Blueprint, build_pools, check_settings, discovered
from balancer.runtime.build import member_states
from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from tests.fakes.loop import FakeClock


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    segment = Segment.create(workers=3)
    yield Ledger(segment)
    segment.close()


def settings(**values: Any) -> Settings:
    upstreams: Any = "app1:8000,10.0.0.2:8000?weight=3,[::1]:80"
    return Settings(upstreams=upstreams, workers=3, **values)


def start(ledger: Ledger, slot: int = 0, max_connections: int = 100, **values: Any) -> Message:
    chosen = settings(**values)
    fleet = Fleet(
        build_pools(chosen, ledger),
        ledger=ledger,
        events=EventLog(),
        clock=FakeClock(),
        log=logging.getLogger("balancer.test"),
        call_later=lambda delay, callback: None,
        broadcast=lambda message: None,
    )
    blueprint = Blueprint(
        chosen,
        fleet,
        ledger,
        listener="0.0.0.0:8080",
        max_connections=max_connections,
        via="balancer-0123abcd",
    )
    return blueprint.start_message(slot, 2)


def test_says_what_the_worker_is(ledger: Ledger) -> None:
    message = start(ledger, slot=1)
    assert {name: message[name] for name in ("type", "slot", "page", "workers")} == {
        "type": "start",
        "slot": 1,
        "page": 2,
        "workers": 3,
    }


def test_is_plain_json(ledger: Ledger) -> None:
    message = start(ledger, trusted_proxies="10.0.0.0/8", policy_options='{"a": [1]}')
    assert json.loads(json.dumps(message)) == message


def test_carries_the_settings_in_seconds_and_bytes(ledger: Ledger) -> None:
    message = start(
        ledger,
        timeouts={"connect": "500ms", "drain": "1m", "drain_delay": "5s"},
        limits={"header_bytes": "16k"},
        keepalive={"idle_timeout": "2s"},
        retry={"max_attempts": 5},
        trusted_proxies="10.0.0.0/8",
        forwarded={"drop": "X-Acme-*", "keep": "X-Forwarded-Prefix"},
        access_log={"sample": 0.5, "fields": "time,status"},
        log_level="debug",
        policy="round_robin",
    )
    assert (message["timeouts"]["connect"], message["drain"]) == (0.5, 60.0)
    assert message["timeouts"].keys() == {
        *("connect", "first_byte", "idle", "total", "request_head", "client_idle", "tunnel_idle"),
    }
    assert message["limits"]["header_bytes"] == 16384
    assert message["trusted_proxies"] == ["10.0.0.0/8"]
    told = [name.lower() for name in ONLY_PROXIES_MAY_SEND]
    assert message["forwarded"] == {"told": [*told, "x-acme-*"], "kept": ["x-forwarded-prefix"]}
    assert message["access_log"] == {"enabled": True, "sample": 0.5}
    assert message["log_level"] == "debug"
    (pool,) = message["pools"]
    assert (pool["name"], pool["policy"]) == ("default", "round_robin")
    assert pool["retry"] == {
        "max_attempts": 5,
        "statuses": [502, 503, 504],
        "methods": ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"],
        "budget_ratio": 0.2,
        "budget_min_per_second": 10.0,
        "replay_bytes": 65536,
    }
    assert (pool["hash_key"], pool["panic"]) == ("client_ip", True)
    assert pool["checked_within"] == 2 * 2.0 + 2 * 1.0
    assert pool["keepalive"] == {
        "max_idle": 64,
        "idle_timeout": 2.0,
        "max_requests": 0,
        "max_lifetime": 0.0,
        "learn": True,
    }


def test_a_name_has_no_address_until_it_is_resolved(ledger: Ledger) -> None:
    (pool,) = start(ledger)["pools"]
    assert [(u["id"], u["host"], u["port"], u["weight"]) for u in pool["upstreams"]] == [
        ("app1:8000", "", 8000, 1),
        ("10.0.0.2:8000", "10.0.0.2", 8000, 3),
        ("[::1]:80", "::1", 80, 1),
    ]


def test_every_entity_has_a_row_of_its_own(ledger: Ledger) -> None:
    message = start(ledger)
    (pool,), (route,) = message["pools"], message["routes"]
    rows = [*message["rows"].values(), pool["row"], route["row"], *(u["row"] for u in pool["upstreams"])]
    assert len(set(rows)) == len(rows) == 7


@pytest.mark.parametrize("total", [3, 100, 101, 20_000])
def test_shares_of_max_connections_add_up(ledger: Ledger, total: int) -> None:
    shares = [start(ledger, slot, total)["limits"]["max_connections"] for slot in range(3)]
    assert (sum(shares), max(shares) - min(shares) <= 1) == (total, True)


@pytest.mark.parametrize("cap", [3, 4, 100])
def test_shares_of_max_inflight_add_up_for_every_upstream(ledger: Ledger, cap: int) -> None:
    limits = {"max_inflight": cap}
    (pool,) = start(ledger, limits=limits)["pools"]
    shares = [[one.max_inflight for one in member_states(pool["upstreams"], 3, slot)] for slot in range(3)]
    assert [sum(one) for one in zip(*shares, strict=True)] == [cap] * 3
    assert len({sum(share) for share in shares}) == 1  # the surplus of three upstreams: one for each worker


@pytest.mark.parametrize(
    ("limits", "queue"),
    [
        ({}, {"size": 1000, "timeout": 5.0}),
        ({"max_inflight": 10}, {"size": 1000, "timeout": 5.0}),
        ({"max_inflight": 10, "queue_size": 0}, {"size": 0, "timeout": 5.0}),
        ({"max_inflight": 10, "queue_size": 50, "queue_timeout": "2s"}, {"size": 50, "timeout": 2.0}),
    ],
    ids=["no cap", "a cap", "a cap, and none may wait", "all set"],
)
def test_a_pool_has_a_queue(ledger: Ledger, limits: dict[str, Any], queue: dict[str, Any]) -> None:
    message = start(ledger, limits=limits)
    (pool,) = message["pools"]
    assert pool["queue"] == queue
    assert {one["max_inflight"] for one in pool["upstreams"]} == {limits.get("max_inflight", 0)}
    assert message["limits"].keys() == {
        *("max_connections", "connections_per_client"),
        *("header_bytes", "header_count", "uri_bytes", "body_bytes"),
    }


def test_what_dns_has_to_find_is_no_upstream_yet(ledger: Ledger) -> None:
    chosen = Settings(upstreams="app1:8000,dns://app:8000?refresh=5s")  # type: ignore[arg-type]  # parsed
    (pool,) = build_pools(chosen, ledger)
    assert list(pool.upstreams) == ["app1:8000"]
    assert [(name, spec.id, spec.refresh) for name, spec in discovered(chosen)] == [
        ("default", "dns://app:8000", 5.0)
    ]


@pytest.mark.parametrize("enabled", [True, False])
def test_upstreams_are_unchecked_where_there_are_checks(ledger: Ledger, enabled: bool) -> None:
    (pool,) = build_pools(settings(health_check={"enabled": enabled}), ledger)
    assert {upstream.unchecked for upstream in pool.upstreams.values()} == {enabled}
    assert pool.is_checked is enabled


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("outliers", [True, False])
def test_outliers_are_found_whether_there_are_checks_or_not(
    ledger: Ledger, checks: bool, outliers: bool
) -> None:
    message = start(ledger, health_check={"enabled": checks}, outlier={"enabled": outliers})
    (pool,) = message["pools"]
    assert pool["outlier"] == {"enabled": outliers, "consecutive_5xx": 5, "consecutive_failures": 3}


def test_checks_are_told_in_plain_values() -> None:
    given = check_settings(
        settings(
            health_check={
                "path": "/healthz",
                "interval": "500ms",
                "expect": "200,300-399",
                "headers": {"Host": "app.example"},
                "drain_status": 503,
            }
        )
    )
    assert (given.path, given.interval, given.timeout) == ("/healthz", 0.5, 1.0)
    assert (given.expect, given.headers) == (((200, 200), (300, 399)), (("Host", "app.example"),))
    assert (given.rise, given.fall, given.drain_status, given.port, given.body) == (2, 2, 503, 0, "")


@pytest.mark.parametrize(
    ("cap", "size"), [(0, 0), (10, 1000)], ids=["nobody can be full", "a cap is as good a reason"]
)
def test_without_adaptive_limits_a_queue_needs_a_cap(ledger: Ledger, cap: int, size: int) -> None:
    message = start(ledger, adaptive={"enabled": False}, limits={"max_inflight": cap})
    assert message["pools"][0]["queue"]["size"] == size
