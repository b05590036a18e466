"""Balancers, replicas and clients for the faults: a pool for each, so that they can happen side by side."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.https import Authority
from tests.fakes.instance import Balancer, Client, running

# How many replicas each pool has.
POOLS = {
    "panic": 1,
    "out": 1,
    "half": 3,
    "backup": 2,
    "flap": 2,
    "found": 1,
    "retried": 2,
    "full": 1,
    "queued": 1,
    "near": 1,
    "broken": 1,
    "late": 6,
    "rising": 1,
}
CHECKED = {"panic", "out", "half", "backup", "flap"}
PROMISED = {"broken": "1s", "late": "200ms", "rising": "200ms"}
LIMITED = {"full": 1, "queued": 1, "near": 20}


class Scene:
    """The pools' balancer and replicas."""

    def __init__(self, members: Path) -> None:
        self.replicas: dict[str, list[AppReplica]] = {}
        self.members = members  # the file by which `found` finds its own
        self.balancer: Balancer
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, stack: AsyncExitStack) -> None:
        """All is well."""
        for pool, count in POOLS.items():
            self.replicas[pool] = [await stack.enter_async_context(app_replica(pool)) for _ in range(count)]
        self.members.write_text(f"[{self.replicas['found'][0].address!r}]")
        self.balancer = await stack.enter_async_context(running(**self._settings()))
        stack.push_async_callback(self.stop)

    def _settings(self) -> dict[str, str]:
        settings = {
            "ROUTES": ", ".join([*(f"/{pool}={pool}" for pool in POOLS), "/=panic"]),
            "HEALTH_CHECK__INTERVAL": "200ms",
            "HEALTH_CHECK__FALL": "1",
            "HEALTH_CHECK__RISE": "1",
            "ADAPTIVE__ENABLED": "false",
            "OUTLIER__ENABLED": "false",
            "POLICY": "round_robin",
            "WORKERS": "1",
            "POOLS__OUT__PANIC": "off",
            "LIMITS__MAX_CONNECTIONS": "300",
        }
        for pool, replicas in self.replicas.items():
            addresses = [one.address for one in replicas]
            if pool == "backup":
                addresses[1] += "?backup=true"
            name = f"POOLS__{pool.upper()}"
            settings[f"{name}__UPSTREAMS"] = (
                f"file://{self.members}" if pool == "found" else ",".join(addresses)
            )
            if pool not in CHECKED:
                settings[f"{name}__HEALTH_CHECK__ENABLED"] = "false"
            if pool in PROMISED:
                settings[f"{name}__SLO__LATENCY"] = PROMISED[pool]
            if pool in LIMITED:
                settings[f"{name}__LIMITS__MAX_INFLIGHT"] = str(LIMITED[pool])
        return settings

    def client(self, pool: str, pause: float = 0.0) -> None:
        """A client more, which asks again when it has its answer and has waited."""
        self._tasks.add(asyncio.create_task(asking(self.balancer.port, f"/{pool}", pause)))

    def during(self, fault: Callable[["Scene"], Coroutine[None, None, None]]) -> None:
        """Let a fault that takes its time happen beside the others."""
        self._tasks.add(asyncio.create_task(fault(self)))

    async def stop(self) -> None:
        """End all clients; raises what has gone wrong with one."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def asking(port: int, target: str, pause: float) -> None:
    """One client, until it is cancelled."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            client = await Client.connect(port)
            try:
                while True:
                    client.send(target)
                    await client.answer()
                    await asyncio.sleep(pause)
            finally:
                with suppress(OSError):
                    await client.close()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def with_certificates(directory: Path) -> AsyncIterator[tuple[Balancer, Path, Path]]:
    """A balancer with a certificate that ends within the hour, and one of an authority that nobody reaches.
    The file of the first, and that of the settings."""
    storage, file = directory / "storage", directory / "balancer.yaml"
    storage.mkdir()
    file.write_text("workers: 2\n")
    pair = Authority(directory).site("shop.test", minutes=50)
    async with AsyncExitStack() as stack:
        replica = await stack.enter_async_context(app_replica())
        balancer = await stack.enter_async_context(
            running(
                CONFIG=str(file),
                UPSTREAMS=replica.address,
                TLS__LISTEN="127.0.0.1:0",
                TLS__CERTIFICATES=":".join(pair),
                TLS__ACME__DOMAINS="shop.example",
                TLS__ACME__STORAGE=str(storage),
                TLS__ACME__DIRECTORY_URL="https://localhost:1/dir",
            )
        )
        yield balancer, Path(pair[0]), file


@asynccontextmanager
async def with_a_busy_policy() -> AsyncIterator[Balancer]:
    """A balancer whose policy computes for 0.3 s at each request."""
    async with (
        app_replica() as replica,
        running(UPSTREAMS=replica.address, POLICY="tests.fakes.busy_policy:Busy", WORKERS="1") as balancer,
    ):
        yield balancer
