"""What a running instance reports: counts that add up, events, failures, and the docs."""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.certificates import pair_in
from tests.fakes.forkserver import run, start
from tests.fakes.instance import Balancer, Client, get, gone, running, until

pytestmark = pytest.mark.integration

PATIENCE = 20.0
BOGUS = 5000
_DOCS = Path(__file__).parents[2] / "docs/admin.md"
# The first one below a heading, if there is one before the next heading.
_EXAMPLE = re.compile(r"^### `GET (\S+)`\n(?:(?!##).*\n)*?```json\n([^`]*)```", re.MULTILINE)


def examples() -> dict[str, Any]:
    """Path -> example response; `UPSTREAM` in a path stands for the first upstream of the first pool."""
    texts = dict(_EXAMPLE.findall(_DOCS.read_text(encoding="utf-8")))
    (pool,) = json.loads(texts["/api/pools"])["pools"]
    upstream = json.dumps(pool["upstreams"][0])
    return {path: json.loads(text.replace("UPSTREAM", upstream)) for path, text in texts.items()}


EXAMPLES = examples()


@pytest.fixture
async def app() -> AsyncIterator[AppReplica]:
    async with app_replica() as replica:
        yield replica


@pytest.fixture
def dead() -> str:
    """The address of an upstream without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def series(balancer: Balancer) -> dict[str, float]:
    text = (await get(balancer.admin_port, "/metrics")).body.decode()
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def total(balancer: Balancer, metric: str) -> float:
    shown = await series(balancer)
    return sum(value for name, value in shown.items() if name.startswith(f"balancer_{metric}{{"))


async def admin(balancer: Balancer, target: str) -> Any:
    return (await get(balancer.admin_port, target)).json()


async def test_sums_agree_over_four_workers_even_after_one_is_killed(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, WORKERS="4", ACCESS_LOG__ENABLED="false") as balancer:
        clients = [await balancer.connect() for _ in range(24)]

        async def ask_all() -> None:
            for client in clients:
                client.send()
            assert {(await client.answer()).status for client in clients} == {200}

        async def counted(count: int) -> None:
            async def is_counted() -> bool:
                counts = [
                    await total(balancer, name)
                    for name in (
                        "requests_total",
                        "upstream_requests_total",
                        "request_duration_seconds_count",
                    )
                ]
                return counts == [count] * 3

            await until(is_counted)

        for turn in (1, 2, 3):
            await ask_all()
            await counted(24 * turn)
        assert await total(balancer, "client_connections") == 24
        assert await total(balancer, "client_connections_total") == 24

        victim = balancer.workers()[0]
        os.kill(victim, signal.SIGKILL)
        await gone(victim)

        async def is_replaced() -> bool:
            return await total(balancer, "worker_restarts_total") == 1 and (
                await total(balancer, "worker_up") == 4
            )

        await until(is_replaced)
        await counted(72)  # counts of the dead worker are not lost
        assert (await get(balancer.port)).status == 200
        await counted(73)


async def bogus_methods(balancer: Balancer, start: int, count: int) -> None:
    """Every second request is passed on, the others are too long."""
    for number in range(start, start + count):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        method = b"M%d" % number if number % 2 else b"M%032d" % number
        writer.write(
            b"%b /p%d?q=%d HTTP/1.1\r\nHost: h%d.test\r\nConnection: close\r\n\r\n"
            % (method, number, number, number)
        )
        assert (await reader.read()).startswith(b"HTTP/1.1 200 " if number % 2 else b"HTTP/1.1 501 ")
        writer.close()
        await writer.wait_closed()


async def bogus_targets(balancer: Balancer, start: int, count: int) -> None:
    client = await Client.connect(balancer.port)
    for number in range(start, start + count):
        client.send(f"http://h{number}.test/{number}/{'x' * (number % 50)}?{number}={number}")
        assert (await client.answer()).status == 200
    await client.close()


async def test_thousands_of_bogus_methods_hosts_and_paths_add_no_series(app: AppReplica) -> None:
    settings = {"UPSTREAMS": app.address, "ACCESS_LOG__ENABLED": "false"}
    # On a slow machine connections would be idle for 4 s, and that they are closed is a series of its own.
    settings["KEEPALIVE__IDLE_TIMEOUT"] = "1m"
    async with running(**settings) as balancer:
        await asyncio.gather(bogus_methods(balancer, 0, 5), bogus_targets(balancer, 0, 5))
        before = (await series(balancer)).keys()
        async with asyncio.TaskGroup() as group:
            for start in range(0, BOGUS, 500):
                group.create_task(bogus_methods(balancer, start, 50))
                group.create_task(bogus_targets(balancer, start, 450))
        shown = await series(balancer)
        assert set(shown) - set(before) == set()
        answered = await total(balancer, "requests_total") + await total(balancer, "local_responses_total")
        assert answered == BOGUS + 10


async def test_an_ejected_upstream_is_shown_everywhere(app: AppReplica, dead: str) -> None:
    settings = {"HEALTH_CHECK__INTERVAL": "100ms", "UPSTREAMS": f"{app.address},{dead}"}
    async with running(**settings) as balancer:
        async with asyncio.timeout(PATIENCE):
            answer = await admin(balancer, "/api/events?after=0&wait=15")
        (event,) = answer["events"]
        assert (event["kind"], event["upstream"], event["cause"]) == ("ejected", dead, "active_check")
        assert answer["last"] == event["revision"]
        (pool,) = (await admin(balancer, "/api/pools"))["pools"]
        upstreams = {upstream["id"]: upstream for upstream in pool["upstreams"]}
        assert pool["eligible"] == 1
        assert upstreams[app.address]["last_check"]["passed"] is True
        assert upstreams[dead]["causes"] == ["active_check"]
        assert upstreams[dead]["last_check"]["result"] == "refused"
        assert "start the app" in upstreams[dead]["last_check"]["hint"]
        shown = await series(balancer)
        label = f'pool="default",upstream="{dead}"'
        assert shown[f"balancer_upstream_up{{{label}}}"] == 0
        assert shown[f'balancer_upstream_state{{pool="default",state="ejected",upstream="{dead}"}}'] == 1
        assert shown['balancer_pool_eligible_upstreams{pool="default"}'] == 1
        assert shown['balancer_ejections_total{cause="active_check",pool="default"}'] == 1
        assert (
            shown[f'balancer_active_checks_total{{pool="default",result="refused",upstream="{dead}"}}'] >= 2
        )
        assert (await get(balancer.admin_port, "/readyz?strict=1")).status == 200


def place(balancer: Balancer) -> tuple[str, str]:
    """The environment by which the commands find it."""
    return "--admin", f"127.0.0.1:{balancer.admin_port}"


async def status(balancer: Balancer, *options: str) -> str:
    """The output of the command."""
    command = ("status", *options, *place(balancer))
    done = await asyncio.to_thread(run, "balancer", *command, environ=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


async def test_the_commands_show_a_running_instance(app: AppReplica, dead: str) -> None:
    settings = {"HEALTH_CHECK__INTERVAL": "100ms", "UPSTREAMS": f"{app.address},{dead}"}
    async with running(**settings) as balancer, asyncio.timeout(PATIENCE):
        await admin(balancer, "/api/events?after=0&wait=15")
        shown = await status(balancer)
        assert "1 of 2 eligible" in shown
        assert f"{dead}: ejected by active check; last check: refused" in shown
        assert json.loads(await status(balancer, "--json"))["pools"][0]["name"] == "default"

        follow = ("events", "--follow", "--json", *place(balancer))
        follower = await start("balancer", *follow, environ=os.environ)
        assert json.loads(await follower.stdout.readline())["kind"] == "ejected"
        follower.send_signal(signal.SIGINT)
        assert await follower.communicate() == (b"", b"")
        assert follower.returncode == 128 + signal.SIGINT


async def test_strict_readiness_needs_an_eligible_upstream(dead: str) -> None:
    settings = {"HEALTH_CHECK__INTERVAL": "100ms", "UPSTREAMS": dead}
    async with running(**settings) as balancer:
        await admin(balancer, "/api/events?after=0&wait=15")
        assert (await balancer.readiness()).status == 200
        strict = await get(balancer.admin_port, "/readyz?strict=1")
        assert strict.status == 503
        assert strict.json()["reasons"] == ["pool default has no eligible upstream"]


async def failures(balancer: Balancer) -> list[Any]:
    found: list[Any] = (await admin(balancer, "/api/failures"))["failures"]
    return found


async def test_a_local_error_is_shown_with_its_attempts(dead: str) -> None:
    async with running(UPSTREAMS=dead, HEALTH_CHECK__ENABLED="false") as balancer:
        assert (await get(balancer.port, "/cart?secret=1")).status == 502

        async def has_come() -> bool:
            return bool(await failures(balancer))

        await until(has_come)
        (failure,) = await failures(balancer)
        assert (failure["status"], failure["reason"]) == (502, "connect_refused")
        assert (failure["method"], failure["target"], failure["pool"]) == ("GET", "/cart?...", "default")
        assert failure["attempts"][0]["upstream"] == dead
        label = f'pool="default",reason="refused",upstream="{dead}"'
        assert await balancer.metric(f"balancer_upstream_connect_failures_total{{{label}}}") >= 1
        (pool,) = (await admin(balancer, "/api/pools"))["pools"]
        assert pool["upstreams"][0]["last_check"] is None
        assert pool["upstreams"][0]["connect_failures"]["refused"] >= 1


async def test_a_client_waiting_for_events_does_not_delay_the_exit(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        waiting = asyncio.create_task(get(balancer.admin_port, "/api/events?after=0&wait=60"))
        await balancer.readiness()
        balancer.signal(signal.SIGTERM)
        assert await balancer.exit_code() == 0
        await asyncio.gather(waiting, return_exceptions=True)


def shape(value: Any) -> Any:
    """Keys at every depth; for a list, those of its first element. Some maps have arbitrary keys."""
    if isinstance(value, dict):
        return {key: None if key in _OPEN else shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return None


_OPEN = {"codes", "connect_failures", "settings", "origins", "attempts", "outlier", "overload"}


def test_the_docs_have_an_example_of_every_path() -> None:
    assert EXAMPLES.keys() == {
        "/healthz",
        "/readyz",
        "/api/pools",
        "/api/pools/POOL",
        "/api/pools/POOL/upstreams",
        "/api/pools/POOL/upstreams/ID",
        "/api/routes",
        "/api/certificates",
        "/api/events",
        "/api/failures",
        "/api/config",
        "/api/explain",
        "/api/overview",
    }


async def test_examples_in_the_docs_have_the_keys_of_real_responses(
    app: AppReplica, dead: str, tmp_path: Path
) -> None:
    certificate, key = pair_in(tmp_path)
    settings = {
        "HEALTH_CHECK__INTERVAL": "100ms",
        "UPSTREAMS": f"{dead},{app.address}",
        "TLS__LISTEN": "127.0.0.1:0",
        "TLS__CERTIFICATES": f"{certificate}:{key}",
        "SLO__LATENCY": "250ms",
        "EXPLAIN__SAMPLE": "1",
    }
    async with running(**settings) as balancer:
        await admin(balancer, "/api/events?after=0&wait=15")
        assert (await get(balancer.port)).status == 200
        client = await balancer.connect()
        client.send("http://[broken/")
        assert (await client.answer()).status == 400

        async def has_come() -> bool:
            explained = await admin(balancer, "/api/explain")
            return bool(await failures(balancer) and explained["requests"])

        await until(has_come)
        # Creates a live change to show.
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams/{dead}"
        async with aiohttp.ClientSession() as session, session.patch(url, json={"weight": 2}) as response:
            assert response.status == 200
        for path, example in EXAMPLES.items():
            target = path.replace("POOL", "default").replace("ID", quote(dead))
            answer = await get(balancer.admin_port, target)
            assert answer.status == 200, target
            found = answer.json()
            if path == "/api/overview":  # its example is of a pool, without upstreams
                found = {**found["pools"]["default"], "upstreams": {}}
            assert shape(found) == shape(example), target
