"""From settings to the `start` message: plain values only, every entity with a row, shares that add up."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.config.settings import Settings
from balancer.errors import BalancerError
from balancer.runtime.blueprint import Blueprint, build_fleet
from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment


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
    fleet = build_fleet(chosen, ledger)
    blueprint = Blueprint(chosen, fleet, ledger, listener="0.0.0.0:8080", max_connections=max_connections)
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
    assert message["access_log"] == {"enabled": True, "sample": 0.5}
    assert message["log_level"] == "debug"
    (pool,) = message["pools"]
    assert (pool["name"], pool["policy"], pool["retry"]) == ("default", "round_robin", {"max_attempts": 5})
    assert pool["keepalive"] == {
        "max_idle": 64,
        "idle_timeout": 2.0,
        "max_requests": 0,
        "max_lifetime": 0.0,
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


def fleet_of(ledger: Ledger) -> Fleet:
    return build_fleet(settings(), ledger)


def test_a_new_address_is_a_revision(ledger: Ledger) -> None:
    fleet = fleet_of(ledger)
    assert fleet.set_address("default", "app1:8000", "10.0.0.9") == {
        "type": "upstream_address",
        "revision": 2,
        "pool": "default",
        "id": "app1:8000",
        "host": "10.0.0.9",
    }
    assert fleet.set_address("default", "app1:8000", "10.0.0.9") is None
    assert fleet.revision == 2
    assert fleet.snapshot()[0]["upstreams"][0]["host"] == "10.0.0.9"


@pytest.mark.parametrize(("pool", "upstream"), [("default", "other:1"), ("other", "app1:8000")])
def test_an_unknown_upstream_is_an_error(ledger: Ledger, pool: str, upstream: str) -> None:
    with pytest.raises(BalancerError, match="no upstream"):
        fleet_of(ledger).set_address(pool, upstream, "10.0.0.9")
