"""A real Prometheus that scrapes balancers each second, and is asked as Grafana asks it."""

import asyncio
import json
import math
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp

from tests.fakes.instance import until
from tests.fakes.pebble import free_port
from tests.fakes.tools import tool

Labels: TypeAlias = tuple[tuple[str, str], ...]
Series: TypeAlias = Mapping[Labels, float]

_LABEL_VALUES = re.compile(r"label_values\((.*), *(\w+)\)")
_QUERY_RESULT = re.compile(r"query_result\((.*)\)")


class Prometheus:
    """Its HTTP API; values are finite ones only."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def now(self) -> float:
        """Its clock, in seconds since the epoch."""
        return (await self.query("vector(time())"))[()]

    async def query(self, expression: str, at: float | None = None) -> Series:
        """Each series and its value, now if not `at` another time; raises ValueError where the expression is
        wrong."""
        found = await self._ask("query", query=expression, **({} if at is None else {"time": str(at)}))
        values = {_labels(one["metric"]): float(one["value"][1]) for one in found["result"]}
        return {labels: value for labels, value in values.items() if math.isfinite(value)}

    async def variable(self, query: str, regex: str = "") -> list[str]:
        """The values that Grafana offers for a variable."""
        if match := _LABEL_VALUES.fullmatch(query):
            found = await self._ask("series", **{"match[]": match[1]})
            return sorted({one[match[2]] for one in found if match[2] in one})
        match = _QUERY_RESULT.fullmatch(query)
        assert match is not None, f"neither label_values() nor query_result(): {query}"
        found = (await self._ask("query", query=match[1]))["result"]
        texts = [f"{_text(one['metric'])} {one['value'][1]} {one['value'][0]}" for one in found]
        matches = [re.search(regex.strip("/"), text) for text in texts]
        return sorted({one[1] for one in matches if one})

    async def scrapes(self, count: int) -> None:
        """Wait until all targets are up, and so many scrapes more have been stored."""

        async def _are_up() -> bool:
            up = await self.query("up")
            return bool(up) and set(up.values()) == {1.0}

        await until(_are_up)
        for _ in range(count):
            before = max((await self.query("timestamp(up)")).values())

            async def _later(before: float = before) -> bool:
                return min((await self.query("timestamp(up)")).values()) > before

            await until(_later)

    async def _ask(self, what: str, **parameters: str) -> Any:
        async with self._session.get(f"/api/v1/{what}", params=parameters) as response:
            answer = await response.json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']}: {parameters}")
        return answer["data"]


def _labels(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted(metric.items()))


def _text(metric: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in metric.items()) + "}"


async def ready(session: aiohttp.ClientSession) -> None:
    """Wait until a program of Prometheus' kind says that it is ready."""

    async def _is_ready() -> bool:
        with suppress(aiohttp.ClientConnectorError):
            async with session.get("/-/ready") as response:
                return response.status == 200
        return False

    await until(_is_ready)


async def ended(process: asyncio.subprocess.Process) -> None:
    """End it."""
    with suppress(ProcessLookupError):
        process.terminate()
    await process.communicate()


@asynccontextmanager
async def prometheus(
    directory: Path, admin_ports: Iterable[int] | Mapping[str, Iterable[int]], **config: Any
) -> AsyncIterator[Prometheus]:
    """One that scrapes these admin listeners, by job if there are several, until the test ends. `config` is
    more of its configuration. Skips where it is not installed."""
    command = tool("prometheus", "prometheus")
    file = directory / "prometheus.json"
    jobs = admin_ports if isinstance(admin_ports, Mapping) else {"balancer": admin_ports}
    scrapes = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for job, ports in jobs.items()
    ]
    file.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes, **config}))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        command,
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await ready(session)
            yield Prometheus(session)
    finally:
        await ended(process)
