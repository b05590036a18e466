"""examples/own_discovery: it is the source of docs/discovery.md, and a balancer follows it."""

import asyncio
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from balancer.discovery import own_sources
from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, event, get, launched, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/own_discovery"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as pip would install it, for this process and those that it starts."""
    info = tmp_path / "balancer_consul-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: 1.0\n")
    ((group, names),) = PROJECT["entry-points"].items()
    lines = "".join(f"{name} = {value}\n" for name, value in names.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    for folder in (tmp_path, FOLDER):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (FOLDER, tmp_path, ROOT))))
    yield
    sys.modules.pop("consul_source", None)


class Agent:
    """What Consul's agent answers: at once if its index is higher than the one asked for."""

    def __init__(self) -> None:
        self.index = 0
        self.services: list[dict[str, Any]] = []
        self.queries: list[dict[str, str]] = []
        self.fails = False
        self._changed = asyncio.Condition()

    async def has(self, *apps: AppReplica) -> None:
        self.services = [
            {"Node": {"Address": "127.0.0.1"}, "Service": {"Address": "", "Port": app.port}} for app in apps
        ]
        async with self._changed:
            self.index += 10
            self._changed.notify_all()

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        if self.fails:
            raise web.HTTPInternalServerError
        async with self._changed:
            await self._changed.wait_for(lambda: self.index > int(request.query["index"]))
        return web.json_response(self.services, headers={"X-Consul-Index": str(self.index)})


@asynccontextmanager
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    found = Agent()
    app = web.Application()
    app.add_routes([web.get("/v1/health/service/web", found.answer)])
    # The balancer's last question waits for an answer.
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://{}:{}".format(*runner.addresses[0]))
    try:
        yield found
    finally:
        await runner.cleanup()


def test_the_docs_show_the_same_code() -> None:
    docs = (ROOT / "docs/discovery.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```python\n(.*?)^```$", docs, re.MULTILINE | re.DOTALL)
    assert shown == (FOLDER / "consul_source.py").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^\[project.entry-points.*\n.*\n", docs, re.MULTILINE)
    assert entry in (FOLDER / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("url", ["consul://", "consul://web/v2"])
def test_an_entry_without_a_service_is_refused(url: str) -> None:
    assert own_sources.problem("consul://web?tag=v2") is None
    assert own_sources.problem(url) == ("does not name a service; write consul://web or consul://web?tag=v2")


def test_addresses_and_weights_are_those_of_the_service_or_else_of_the_node() -> None:
    source: Any = own_sources.build("consul://web")
    assert (
        source.upstream(
            {
                "Node": {"Address": "10.0.0.1"},
                "Service": {"Address": "fd00::2", "Port": 8000, "Weights": {"Passing": 3}},
            }
        )
        == "[fd00::2]:8000?weight=3"
    )
    assert (
        source.upstream({"Node": {"Address": "10.0.0.1"}, "Service": {"Address": "", "Port": 8000}})
        == "10.0.0.1:8000?weight=1"
    )


async def answers(balancer: Balancer, name: bytes) -> None:
    """Wait until this app answers."""

    async def is_it() -> bool:
        return (await get(balancer.port)).body == name

    await until(is_it)


@pytest.mark.integration
async def test_a_balancer_follows_consul(monkeypatch: pytest.MonkeyPatch) -> None:
    async with app_replica("one") as one, app_replica("two") as two, agent(monkeypatch) as consul:
        await consul.has(one)
        async with launched(UPSTREAMS="consul://web?tag=v2", HEALTH_CHECK__ENABLED="off") as balancer:
            await balancer.established()
            assert (await get(balancer.port)).body == b"one"
            assert consul.queries[0] == {"tag": "v2", "passing": "true", "wait": "60s", "index": "0"}
            await consul.has(two)
            await answers(balancer, b"two")
            consul.fails = True
            await consul.has(one)  # ends the question that waits
            text = (await event(balancer, "unresolved"))["text"]
            assert text.startswith("consul://web?tag=v2 fails: ClientResponseError: 500")
            await answers(balancer, b"one")
            (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
            assert "ClientResponseError" in pool["problems"]["consul://web?tag=v2"]
            consul.fails = False
            assert await balancer.says("consul://web?tag=v2 works again")
