"""Every query of every panel has data, asked of a real Prometheus that scrapes two real balancers.

At first nobody asks them anything: what is well is 0 then, not "No data". Then a split route is under load.
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from loadtests.grafana.__main__ import FOLDER
from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.https import Authority
from tests.fakes.instance import Balancer, get, running
from tests.fakes.prometheus import Prometheus, Series, prometheus

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CHOSEN = {"pool": "stable"}  # by the person who looks at the pool's dashboard
RATE_INTERVAL = "8s"  # Grafana: at least four scrapes, which are 1 s here
ALL = "$__all"
SETTINGS = {
    "ROUTES": "/old/=stable, /=stable:50|canary:50",
    "SPLIT__SECRET": "of the test, of the test",
    "STICKY__ENABLED": "true",
    "STICKY__SECRET": "of the test, of the test",
    "SLO__LATENCY": "300ms",
    "LIMITS__MAX_INFLIGHT": "1",
    "HEALTH_CHECK__INTERVAL": "500ms",
    "TLS__LISTEN": "127.0.0.1:0",
}
ROUTE = "stable-canary"
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
DASHBOARDS: dict[str, Any] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")
}
QUERIES = {
    f"{name}: {panel['id']} {panel['title']} {target['refId']}": (name, panel, target["expr"])
    for name, one in sorted(DASHBOARDS.items())
    for panel in one["panels"]
    for target in panel.get("targets", [])
}
# Times of requests: there are none where nobody asks. Said in their descriptions, or by `noValue`.
NEEDS_LOAD = re.compile(r"histogram_quantile|_bucket")


@dataclass
class Seen:
    """What the panels show without load and under it, by the names of the queries."""

    quiet: dict[str, Series] = field(default_factory=dict)
    busy: dict[str, Series] = field(default_factory=dict)
    one: dict[str, Series] = field(default_factory=dict)  # of a single instance
    errors: list[str] = field(default_factory=list)
    values: dict[str, dict[str, str]] = field(default_factory=dict)  # of the variables, by dashboard


def replaced(expression: str, values: Mapping[str, str]) -> str:
    """The expression as Grafana sends it."""
    return VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


async def chosen(server: Prometheus, dashboard: Any, instance: str = ALL) -> dict[str, str]:
    """The value of each variable when a page is opened: all, or the first."""
    values = {"__rate_interval": RATE_INTERVAL, "datasource": "prometheus"}
    for variable in dashboard["templating"]["list"][1:]:
        if variable["multi"]:
            values[variable["name"]] = variable["allValue"]
            assert await server.variable(replaced(variable["query"], values), variable["regex"])
            if variable["name"] == "instance" and instance != ALL:
                values["instance"] = f"({re.escape(instance)})".replace("\\", "\\\\")
            continue
        offered = await server.variable(replaced(variable["query"], values), variable["regex"])
        offered.sort(reverse=variable["sort"] == 2)
        default = offered[0] if offered else ""
        values[variable["name"]] = CHOSEN.get(variable["name"], default)
    return values


async def shown(server: Prometheus, errors: list[str], instance: str = ALL) -> dict[str, Series]:
    """The series of every query."""
    values = {name: await chosen(server, one, instance) for name, one in DASHBOARDS.items()}
    result: dict[str, Series] = {}
    now = await server.now()
    for query, (name, _, expression) in QUERIES.items():
        try:
            result[query] = await server.query(replaced(expression, values[name]), now)
        except ValueError as error:
            errors.append(f"{query}: {error}")
            result[query] = {}
    return result


@asynccontextmanager
async def asking(balancers: list[Balancer]) -> AsyncIterator[None]:
    """Clients of all of them: more at once than their upstreams take, each with its own cookies."""

    async def client(port: int, number: int) -> None:
        target = f"http://127.0.0.1:{port}/{'old/' if number == 0 else ''}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            for count in range(100_000):
                with suppress(aiohttp.ClientError):
                    if count % 50 == 0:
                        session.cookie_jar.clear()
                    async with session.get(target) as response:
                        await response.read()

    tasks = [asyncio.create_task(client(one.port, number)) for one in balancers for number in range(6)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def observed(directory: Path) -> Seen:
    seen = Seen()
    authority = Authority(directory)
    settings = {**SETTINGS, "TLS__CERTIFICATES": ":".join(authority.site("shop.test"))}
    async with AsyncExitStack() as stack:
        apps: dict[str, AppReplica] = {
            name: await stack.enter_async_context(app_replica(name)) for name in ("a", "b", "c")
        }
        settings["POOLS__STABLE__UPSTREAMS"] = f"{apps['a'].address},{apps['b'].address}"
        settings["POOLS__CANARY__UPSTREAMS"] = apps["c"].address
        balancers = [await stack.enter_async_context(running(**settings)) for _ in range(2)]
        ports = [one.admin_port for one in balancers]
        server = await stack.enter_async_context(prometheus(directory, ports))
        await server.scrapes(4)
        seen.quiet = await shown(server, seen.errors)
        for app in apps.values():
            app.takes = 0.004
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", balancers[0].tls_port, ssl=authority.context(), server_hostname="shop.test"
        )
        async with asking(balancers):
            await server.scrapes(5)
            apps["c"].status = 500
            await get(balancers[0].port, "/")
            await server.scrapes(4)
            seen.busy = await shown(server, seen.errors)
            seen.values = {name: await chosen(server, one) for name, one in DASHBOARDS.items()}
            seen.one = await shown(server, seen.errors, f"127.0.0.1:{ports[0]}")
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
        del reader
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(observed(tmp_path_factory.mktemp("grafana")))


def value(series: Series) -> float:
    """That of the only one."""
    (found,) = series.values()
    return found


def query(dashboard: str, title: str, ref: str = "A") -> str:
    (found,) = (
        one for one in QUERIES if one.startswith(f"{dashboard}: ") and one.endswith(f" {title} {ref}")
    )
    return found


def by(series: Series, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for labels, value in series.items()}


def test_no_query_is_wrong(seen: Seen) -> None:
    assert seen.errors == []


@pytest.mark.parametrize("name", QUERIES)
def test_data_comes_under_load(seen: Seen, name: str) -> None:
    assert seen.busy[name] != {}


@pytest.mark.parametrize("name", QUERIES)
def test_data_comes_for_one_of_two_instances(seen: Seen, name: str) -> None:
    assert seen.one[name] != {}


@pytest.mark.parametrize("name", [name for name, one in QUERIES.items() if not NEEDS_LOAD.search(one[2])])
def test_what_is_well_is_zero_and_not_no_data_without_load(seen: Seen, name: str) -> None:
    assert seen.quiet[name] != {}


def test_variables_have_the_values_that_a_page_needs_when_it_is_opened(seen: Seen) -> None:
    assert seen.values["overview"]["window"] == str(30 * 86400)
    sides = seen.values["sides"]
    assert (sides["route"], sides["old"], sides["new"]) == (ROUTE, "stable", "canary")


def test_two_instances_are_summed(seen: Seen) -> None:
    assert value(seen.busy[query("overview", "Instances")]) == 2
    assert value(seen.one[query("overview", "Instances")]) == 1
    requests = query("overview", "2 Requests")
    assert value(seen.busy[requests]) > value(seen.one[requests]) > 0


def test_upstreams_that_both_instances_know_count_once(seen: Seen) -> None:
    assert by(seen.busy[query("overview", "Upstreams that serve", "B")], "pool") == {"stable": 2, "canary": 1}


def test_nothing_is_wrong_without_load(seen: Seen) -> None:
    for title in ("Failed", "Upstreams out", "Pools overloaded"):
        assert value(seen.quiet[query("overview", title)]) == 0
    left = seen.quiet[query("overview", "Budget left: failed requests")]
    assert set(left.values()) == {1.0}
    assert set(seen.quiet[query("pool", "State of each upstream")].values()) == {1.0}


def test_errors_of_the_new_side_are_seen(seen: Seen) -> None:
    assert value(seen.busy[query("overview", "Failed")]) > 0
    assert min(seen.busy[query("overview", "Budget left: failed requests")].values()) < 1
    assert max(seen.busy[query("overview", "Burn rate: failed requests, 1 h")].values()) > 1


def test_shares_of_a_pool_add_up(seen: Seen) -> None:
    for ref in "AB":
        assert sum(seen.busy[query("pool", "Share against weight", ref)].values()) == pytest.approx(1)


def test_sides_are_those_of_the_split_route(seen: Seen) -> None:
    shares = [value(seen.busy[query("sides", "Share", ref)]) for ref in "AB"]
    assert sum(shares) == pytest.approx(1)
    assert value(seen.busy[query("sides", "Failed requests", "B")]) > value(
        seen.busy[query("sides", "Failed requests", "A")]
    )
