"""config/keepalived: two balancers behind a virtual address, on machines that are network namespaces."""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes.app_replica import AppReplica
from tests.fakes.instance import until
from tests.fakes.machines import Machine, machines
from tests.fakes.tools import tool
from tests.fakes.visitors import OK, Visitors, asked

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

CONFIG = Path(__file__).parents[2] / "config/keepalived"
ADDRESS = "10.203.0.10"
PORT, ADMIN_PORT = 8080, 9901
EVERY = 0.005  # seconds between two clients
DRAIN_DELAY = 3.0
RUNNING = 5  # requests that run while the address moves
# The check runs each second, and the other machine needs some adverts; the rest is for a busy machine.
KILLED_SECONDS = 3.0
DEAD_SECONDS = 3.0
SYN_SECONDS = 0.9  # the kernel sends a lost one again after a second
_NEEDED = [
    ("keepalived", "keepalived"),
    ("curl", "curl"),
    ("iptables", "iptables"),
    ("iputils-ping", "ping"),
    ("procps", "sysctl"),
]


class Node:
    """One of the pair: a balancer and keepalived, on a machine."""

    def __init__(self, machine: Machine, app: str, config: Path) -> None:
        self.machine = machine
        self.balancer: Process
        self._config = config
        self._settings = {
            "BALANCER_UPSTREAMS": app,
            "BALANCER_LIMITS__MAX_CONNECTIONS": "1000",
            "BALANCER_TIMEOUTS__DRAIN_DELAY": f"{DRAIN_DELAY}s",
            "BALANCER_ACCESS_LOG__ENABLED": "false",
        }

    async def start_balancer(self) -> None:
        self.balancer = await self.machine.start(sys.executable, "-m", "balancer", **self._settings)
        await until(self.is_ready)

    async def start_keepalived(self) -> None:
        own = f"{self._config}/{self.machine.name}"
        await self.machine.start(
            tool("keepalived", "keepalived"),
            *("--vrrp", "--dont-fork", "--log-console", f"--use-file={self._config}/keepalived.conf"),
            *(f"--pid={own}.pid", f"--vrrp_pid={own}.vrrp.pid"),
        )
        await until(self.passes_on)

    async def has_address(self) -> bool:
        return f" {ADDRESS}/" in self.machine.run("ip", "address", "show", "dev", "eth0")

    async def has_no_address(self) -> bool:
        return not await self.has_address()

    async def passes_on(self) -> bool:
        """Whether it has been the backup, and is prepared to take over."""
        return "BALANCER" in self.machine.run("iptables", "-t", "mangle", "-S", "PREROUTING")

    async def resets_unknown(self) -> bool:
        """Whether it passes nothing on, but resets connections that it does not know."""
        return not await self.passes_on()

    async def is_backup_again(self) -> bool:
        return sum("Entering BACKUP STATE" in line for line in self.machine.said) == 2

    async def accepts_no_more(self) -> bool:
        return not await asked(partial(self.machine.connect, self.machine.address, PORT), "/")

    async def is_ready(self) -> bool:
        return await asked(partial(self.machine.connect, "127.0.0.1", ADMIN_PORT), "/readyz", "127.0.0.1")


class Pair(NamedTuple):
    """`holder` has the address. `visitors` are coming."""

    holder: Node
    other: Node
    app: AppReplica
    visitors: Visitors
    network: Machine

    async def succeeds(self, times: int) -> bool:
        """Whether the last so many requests have been answered."""
        last = self.visitors.visits[-times:]
        return len(last) == times and all(visit.outcome == OK for visit in last)

    def ask(self, target: str) -> "asyncio.Task[bool]":
        return asyncio.create_task(asked(partial(self.network.connect, ADDRESS, PORT), target))


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    for packages, name in _NEEDED:
        tool(packages, name)
    async with machines("a", "b") as (network, first, second):
        # Scripts that root runs must be where nobody else may write.
        with tempfile.TemporaryDirectory(prefix="balancer-", dir="/run") as directory:
            own = {"192.0.2.10": ADDRESS, "192.0.2.11": first.address, "192.0.2.12": second.address}
            for name in ("keepalived.conf", "handover"):
                text = (CONFIG / name).read_text(encoding="utf-8").replace("/etc/keepalived", directory)
                for documented, address in own.items():
                    text = text.replace(documented, address)
                (Path(directory) / name).write_text(text)
                shutil.copymode(CONFIG / name, Path(directory) / name)
            app = AppReplica()
            server = await asyncio.start_server(app.serve, sock=network.listening())
            try:
                upstream = f"{network.address}:{server.sockets[0].getsockname()[1]}"
                holder, other = (Node(each, upstream, Path(directory)) for each in (first, second))
                for node in (holder, other):
                    await node.start_balancer()
                    await node.start_keepalived()
                    await until(holder.has_address)
                visitors = Visitors(partial(network.connect, ADDRESS, PORT), EVERY)
                async with visitors.coming():
                    yield Pair(holder, other, app, visitors, network)
            finally:
                server.close()
                await app.stop()


async def test_nothing_fails_when_the_holder_is_drained_and_replaced() -> None:
    async with pair() as pair_:
        first, second = pair_.holder, pair_.other
        running = [pair_.ask("/hold") for _ in range(RUNNING)]
        for _ in running:
            await pair_.app.holds()
        first.balancer.send_signal(signal.SIGTERM)
        await until(second.has_address)
        await until(first.accepts_no_more)
        assert not await first.has_address()
        assert first.balancer.returncode is None, "it waits for the running requests"
        pair_.app.release.set()
        assert await asyncio.gather(*running) == [True] * RUNNING
        assert await first.balancer.wait() == 0
        await first.start_balancer()
        await until(first.is_backup_again)
        assert await second.has_address(), "who has the address keeps it"
        second.balancer.send_signal(signal.SIGTERM)
        await until(first.has_address)
        assert await second.balancer.wait() == 0
        assert pair_.visitors.failures() == {}
        assert pair_.visitors.longest() < SYN_SECONDS, "a SYN was lost"


async def test_connections_are_refused_for_about_a_second_when_the_balancer_is_killed() -> None:
    async with pair() as pair_:
        await until(partial(pair_.succeeds, 2))
        pair_.holder.balancer.send_signal(signal.SIGKILL)
        await until(pair_.other.has_address)
        await until(partial(pair_.succeeds, 100))
        assert 0.0 < pair_.visitors.gap() < KILLED_SECONDS
        pair_.other.balancer.send_signal(signal.SIGKILL)
        await until(pair_.other.has_no_address)  # nobody is ready


async def test_a_dead_machine_is_noticed_by_its_silence() -> None:
    async with pair() as pair_:
        await until(partial(pair_.succeeds, 2))
        dead = time.monotonic()
        pair_.network.run("ip", "link", "set", "port1", "down")
        await until(pair_.other.has_address)
        assert time.monotonic() - dead < DEAD_SECONDS
        await until(pair_.other.resets_unknown)
        assert await pair_.ask("/")
