"""Machines on one network: namespaces of the kernel, joined by a bridge. Only root can make them.

    machine ── eth0 ──┐
    machine ── eth0 ──┼── bridge, in a namespace of its own, where clients and apps are
    machine ── eth0 ──┘

The network of the host itself is not touched. A socket belongs for good to the namespace that it was made in.
"""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from tests.fakes.tools import missing, tool

PATIENCE = 20.0
_NETWORK = "10.203.0"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A namespace. `address` is its own on the network."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._started: list[tuple[Process, asyncio.Task[None]]] = []
        self.said: list[str] = []

    def run(self, *command: str) -> str:
        """Run a command there to its end; returns its output."""
        return _run("ip", "netns", "exec", self.name, *command)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that are made in this block are there. It must not await: the thread is moved."""
        with open("/proc/self/ns/net") as before, open(f"/run/netns/{self.name}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def listening(self, port: int = 0) -> socket.socket:
        with self.inside():
            return socket.create_server((self.address, port), backlog=1024)

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from there."""
        with self.inside():
            made = socket.socket()
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (host, port))
        except BaseException:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    async def start(self, *command: str, **environ: str) -> Process:
        """Start a program there; its output is in `said`."""
        argv = ("ip", "netns", "exec", self.name, *command)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=PIPE, stderr=STDOUT, env={**ours, **environ}, start_new_session=True
        )
        self._started.append((process, asyncio.create_task(self._read(process))))
        return process

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.said.append(f"{self.name}: {line.decode().rstrip()}")

    async def end(self) -> None:
        """Kill all that was started there."""
        for process, reading in self._started:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await reading
        self._started.clear()


@asynccontextmanager
async def machines(*names: str) -> AsyncIterator[Sequence[Machine]]:
    """A machine of each name, and before them the one of clients and apps. Skips the test where none can be
    made."""
    tool("iproute2", "ip")
    if os.geteuid():
        missing("root is needed, for network namespaces")
    unique = f"balancer-{os.getpid()}"
    made = [
        Machine(f"{unique}-{name}", f"{_NETWORK}.{host}") for host, name in enumerate(("network", *names), 1)
    ]
    network = made[0]
    try:
        for machine in made:
            _run("ip", "netns", "add", machine.name)
            machine.run("ip", "link", "set", "lo", "up")
        network.run("ip", "link", "add", "bridge", "type", "bridge")
        network.run("ip", "addr", "add", f"{network.address}/24", "dev", "bridge")
        network.run("ip", "link", "set", "bridge", "up")
        for number, machine in enumerate(made[1:], 1):
            end = f"port{number}"
            network.run(
                *("ip", "link", "add", end, "type", "veth"), *("peer", "name", "eth0", "netns", machine.name)
            )
            network.run("ip", "link", "set", end, "master", "bridge", "up")
            machine.run("ip", "addr", "add", f"{machine.address}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
    except subprocess.CalledProcessError as error:
        _remove(made)
        missing(f"no network namespaces here: {error.stderr.strip()}")
    try:
        yield made
    except BaseException as error:
        error.add_note("\n".join(line for machine in made for line in machine.said[-40:]))
        raise
    finally:
        for machine in made:
            await machine.end()
        _remove(made)


def _remove(made: Sequence[Machine]) -> None:
    for machine in made:
        subprocess.run(["ip", "netns", "delete", machine.name], capture_output=True)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):  # os.setns is in Python 3.12 only
        raise OSError(ctypes.get_errno(), "setns")
