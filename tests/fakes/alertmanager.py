"""A real Alertmanager with the shipped routes, which tells a webhook of the test."""

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession, web

from tests.fakes.pebble import free_port
from tests.fakes.prometheus import ended, ready
from tests.fakes.tools import tool


@dataclass
class Told:
    """What the webhook was told: the alerts that fire, by name; each with its labels and annotations."""

    port: int = 0  # of the Alertmanager
    alerts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        """One message of the Alertmanager."""
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                self.alerts.setdefault(alert["labels"]["alertname"], []).append(alert)
        self.news.set()
        return web.Response()

    async def of(self, names: set[str], within: float) -> set[str]:
        """Wait until it was told of all these alerts; returns those that are missing after this time."""
        try:
            async with asyncio.timeout(within):
                while names - self.alerts.keys():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            pass
        return names - self.alerts.keys()


@asynccontextmanager
async def alertmanager(directory: Path, shipped: str, *, inhibits: bool = False) -> AsyncIterator[Told]:
    """One with the shipped configuration, but for its receiver and patience; it may inhibit as that says."""
    command = tool("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
    told = Told(free_port())
    application = web.Application()
    application.router.add_post("/", told.receive)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    config = yaml.safe_load(shipped)
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    config["receivers"][0]["webhook_configs"] = [{"url": f"http://{host}:{port}/"}]
    if not inhibits:
        del config["inhibit_rules"]
    file = directory / "alertmanager.json"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        command,
        f"--config.file={file}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{told.port}",
        "--cluster.listen-address=",
        "--log.level=error",
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with ClientSession(f"http://127.0.0.1:{told.port}") as session:
            await ready(session)
        yield told
    finally:
        await ended(process)
        await runner.cleanup()
