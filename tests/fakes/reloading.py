"""A balancer whose settings file is in the hands of a test, and which is told to read it again."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.instance import Answer, Balancer, get, running, until

NEW_WORKERS = iter(range(100, 10_000))


def other_workers() -> dict[str, Any]:
    """A setting that changes nothing for a test, but needs new workers."""
    return {"retry": {"max_attempts": 3}, "limits": {"uri_bytes": 8000 + next(NEW_WORKERS)}}


class Reloading:
    """A balancer that is ready, and its settings file."""

    def __init__(self, balancer: Balancer, file: Path) -> None:
        self.balancer = balancer
        self.file = file

    def write(self, **settings: Any) -> None:
        """Replace the file atomically."""
        write(self.file, settings)

    async def ask(self, **body: Any) -> Answer:
        """`POST /api/reload`, with its answer of any status."""
        return await change(self.balancer, "POST", "/api/reload", body)

    async def reload(self, **settings: Any) -> Any:
        """Write other settings, and take them up."""
        self.write(**settings)
        answer = await self.ask()
        assert answer.status == 200, answer.body
        return answer.json()

    async def upstream(self, id: str, pool: str = "default") -> Any:
        """What the admin API says of an upstream."""
        return (await get(self.balancer.admin_port, f"/api/pools/{pool}/upstreams/{id}")).json()

    async def serves(self, body: bytes, target: str = "/") -> None:
        """Wait for this answer: workers learn of a reload just after it, and until then the old ones accept
        clients too."""

        async def does() -> bool:
            return (await get(self.balancer.port, target)).body == body

        await until(does)

    async def counts(self) -> dict[str, float]:
        """All series of counters: none decreases while the instance runs."""
        counts = {}
        for line in (await get(self.balancer.admin_port, "/metrics")).body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name.partition("{")[0].endswith(("_total", "_bucket", "_sum", "_count")) and line[0] != "#":
                counts[name] = float(value)
        return counts

    async def has_workers(self, number: int) -> None:
        """Wait until there are exactly so many: predecessors have ended."""

        async def has() -> bool:
            return len(self.balancer.workers()) == number

        await until(has)


def write(file: Path, settings: dict[str, Any]) -> None:
    """Replace a settings file atomically. JSON is YAML."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(settings))
    os.replace(beside, file)


async def change(balancer: Balancer, method: str, target: str, body: Any) -> Answer:
    """A change by the admin API."""
    url = f"http://127.0.0.1:{balancer.admin_port}{target}"
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as response:
        return Answer(response.status, "", await response.read())


@asynccontextmanager
async def reloading(directory: Path, settings: dict[str, Any], **environ: str) -> AsyncIterator[Reloading]:
    """A balancer with these settings in a file, and those of `environ` in the environment. There are no
    active checks, unless the environment says otherwise."""
    file = directory / "balancer.yaml"
    write(file, settings)
    async with running(**{"CONFIG": str(file), "HEALTH_CHECK__ENABLED": "false", **environ}) as balancer:
        yield Reloading(balancer, file)
