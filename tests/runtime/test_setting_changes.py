"""Which settings a reload reports, with what values, and how each is taken up."""

from functools import partial

import pytest

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.plan import Changed
from balancer.runtime.setting_changes import changes
from balancer.spec.instance import InstanceSpec

ONE = {"UPSTREAMS": "app1:8000"}
TWO = {"POOLS__API__UPSTREAMS": "api:80", "POOLS__WEB__UPSTREAMS": "web:80"}
BOTH = {**TWO, "ROUTES": "/api/=api, /=web"}


def settings(values: dict[str, str]) -> Settings:
    return load({f"BALANCER_{name}": value for name, value in values.items()})


def changed(before: dict[str, str], after: dict[str, str]) -> list[Changed]:
    spec_of = partial(_spec, max_connections=100)
    return list(changes(settings(before), settings(after), spec_of))


def _spec(given: Settings, max_connections: int) -> InstanceSpec:
    return instance_spec(given, via="", max_connections=max_connections)


def how(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    return {one.path: one.how for one in changed(before, after)}


CASES = [
    pytest.param({"HEALTH_CHECK__INTERVAL": "9s"}, {"health_check.interval": "live"}, id="a check"),
    pytest.param({"HEALTH_CHECK__ENABLED": "false"}, {"health_check.enabled": "live"}, id="no checks"),
    pytest.param({"OUTLIER__EJECTION_TIME": "9s"}, {"outlier.ejection_time": "live"}, id="of ejections"),
    pytest.param({"TIMEOUTS__TUNNEL_DRAIN": "9s"}, {"timeouts.tunnel_drain": "live"}, id="of a route"),
    pytest.param({"RETRY__MAX_ATTEMPTS": "9"}, {"retry.max_attempts": "new_workers"}, id="of a pool"),
    pytest.param({"POLICY": "ip_hash"}, {"policy": "new_workers"}, id="a policy"),
    pytest.param({"WORKERS": "3"}, {"workers": "new_workers"}, id="the number of workers"),
    pytest.param({"LISTEN": "0.0.0.0:81"}, {"listen": "new_workers"}, id="an address"),
    pytest.param({"RELOAD__DRAIN": "9s"}, {"reload.drain": "live"}, id="of reloads"),
    pytest.param({"TIMEOUTS__DRAIN_DELAY": "9s"}, {"timeouts.drain_delay": "live"}, id="of the end"),
    pytest.param({"ADMIN_LISTEN": "0.0.0.0:99"}, {"admin_listen": "restart"}, id="the admin listener"),
    pytest.param({"ADMIN_TOKEN": "t0ken-of-the-test"}, {"admin_token": "live"}, id="the token"),
    pytest.param({"VIA": "false"}, {"via": "restart"}, id="the name"),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
def test_how_a_setting_is_taken_up(change: dict[str, str], expected: dict[str, str]) -> None:
    if "policy" in expected:
        change = {**change, "POLICY": "round_robin"}
    assert how(ONE, {**ONE, **change}) == expected


def test_nothing_differs_from_itself() -> None:
    assert changed(BOTH, BOTH) == []


def test_values_are_shown_as_they_are_written() -> None:
    (one,) = changed(ONE, {**ONE, "HEALTH_CHECK__INTERVAL": "90s"})
    assert (one.before, one.after) == ("2s", "90s")


def test_secrets_are_masked() -> None:
    before = {**ONE, "ADMIN_TOKEN": "the-old-token", "STICKY__ENABLED": "true", "STICKY__SECRET": "x" * 20}
    after = {**before, "ADMIN_TOKEN": "the-new-token", "STICKY__SECRET": "y" * 20}
    found = changed(before, after)
    assert [one.path for one in found] == ["admin_token", "sticky.secret"]
    shown = "".join(f"{one.before}{one.after}" for one in found)
    assert not any(secret in shown for secret in ("the-old", "the-new", "xxx", "yyy"))


def test_members_are_left_to_the_list_of_members() -> None:
    assert changed(ONE, {"UPSTREAMS": "app2:8000"}) == []
    assert changed(BOTH, {**BOTH, "POOLS__API__UPSTREAMS": "api2:80"}) == []


def test_a_pool_that_comes_or_goes_is_one_change_shown_by_its_upstreams() -> None:
    more = {**BOTH, "POOLS__OTHER__UPSTREAMS": "o1:80, o2:80", "ROUTES": "/api/=api, /o/=other, /=web"}
    (pool, routes) = changed(BOTH, more)
    assert (pool.path, pool.before, pool.after, pool.how) == (
        "pools.other", None, "o1:80, o2:80", "new_workers",
    )  # fmt: skip
    assert (routes.path, routes.how) == ("routes", "new_workers")  # it leads to a pool that is not there
    (pool, routes) = changed(more, BOTH)
    assert (pool.before, pool.after, pool.how) == ("o1:80, o2:80", None, "new_workers")
    assert (routes.path, routes.how) == ("routes", "live")


def test_routes_to_pools_that_are_there_change_live() -> None:
    assert how(BOTH, {**BOTH, "ROUTES": "/apis/=api, /=web"}) == {"routes": "live"}
    assert how(BOTH, {**BOTH, "ROUTES": "/api/=api, /=web:9|api:1"}) == {"routes": "live"}


def test_a_setting_of_one_pool_is_named_with_it() -> None:
    assert how(BOTH, {**BOTH, "POOLS__API__RETRY__MAX_ATTEMPTS": "7"}) == {
        "pools.api.retry.max_attempts": "new_workers"
    }
