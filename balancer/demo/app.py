"""`balancer demo`: the balancer in front of three demo app replicas, with a live table (L7)."""

import asyncio
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
from rich.console import Console

from balancer.demo.display import display_for
from balancer.demo.load import Load
from balancer.demo.processes import Child, Children
from balancer.demo.table import read_stats, rows
from balancer.errors import StartupError

# Name and service time in seconds. At fifty requests a second the slow one is busy often enough that the
# default policy, least_connections, sends it visibly less than a third.
REPLICAS = (("app1", 0.005), ("app2", 0.005), ("app3", 0.080))
LISTEN_PORT, ADMIN_PORT = 8080, 9901
PORTS_TRIED = 50
START_SECONDS = 20.0
REFRESH = 0.5  # seconds
# All signals that end a process and may come from a terminal or a user: unhandled, the children would go on.
_STOPPING = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def run(load: bool) -> int:
    """Run the demo until Ctrl-C or TERM, with a gentle load of its own if `load`; returns the exit code."""
    console = Console(highlight=False, soft_wrap=True, force_terminal=sys.stdout.isatty())
    try:
        asyncio.run(_run(load, console))
    except StartupError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the handlers are set
        return 0
    return 0


async def _run(load: bool, console: Console) -> None:
    """Run until a signal or until the demo fails; ends every child in either case."""
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="balancer-demo-") as directory:
        children = Children(Path(directory))

        def stop_or_kill() -> None:
            if stop.is_set():
                children.kill()  # the second signal: at once
            stop.set()

        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, stop_or_kill)
        demo = asyncio.create_task(Demo(console, children).run(load))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({demo, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            demo.cancel()
            stopped.cancel()
            results = await asyncio.gather(demo, stopped, return_exceptions=True)
            await children.stop()
    if console.is_terminal and not sys.stdout.isatty():
        return  # the terminal has hung up: nobody would see it
    if isinstance(results[0], Exception):
        raise results[0]
    console.print("stopped")


class Demo:
    """The replicas, the balancer in front of them, the load and the table."""

    def __init__(self, console: Console, children: Children) -> None:
        self._console = console
        self._children = children
        self._names: dict[str, str] = {}  # address -> the replica's name in the table
        self._replicas: list[Child] = []

    async def run(self, with_load: bool) -> None:
        """Start everything and show it until cancelled; `StartupError` if the balancer fails."""
        timeout = aiohttp.ClientTimeout(total=2.0)
        async with aiohttp.ClientSession(timeout=timeout) as session, AsyncExitStack() as stack:
            await self._start_replicas(session)
            listen = free_port(LISTEN_PORT)
            admin = free_port(ADMIN_PORT)
            for wanted, got in ((LISTEN_PORT, listen), (ADMIN_PORT, admin)):
                if got != wanted:
                    self._console.print(f"port {wanted} is in use: using {got}")
            balancer = self._children.start_balancer(
                {
                    "BALANCER_LISTEN": f"127.0.0.1:{listen}",
                    "BALANCER_ADMIN_LISTEN": f"127.0.0.1:{admin}",
                    "BALANCER_UPSTREAMS": ",".join(self._names),
                    "BALANCER_ACCESS_LOG__ENABLED": "false",
                    "BALANCER_HEALTH_CHECK__INTERVAL": "1s",
                    "BALANCER_TIMEOUTS__DRAIN": "3s",
                    # Few enough for any open-file limit: a warning about it would be of no use here.
                    "BALANCER_LIMITS__MAX_CONNECTIONS": "200",
                }
            )
            await _wait_until_ok(session, f"http://127.0.0.1:{admin}/readyz", balancer)
            self._introduce(listen, admin)
            load = Load(f"http://127.0.0.1:{listen}/") if with_load else None
            if load is not None:
                task = asyncio.create_task(load.run())
                stack.push_async_callback(_end, task)
            await self._watch(session, f"http://127.0.0.1:{admin}/api/pools", balancer, load)

    async def _start_replicas(self, session: aiohttp.ClientSession) -> None:
        for name, delay in REPLICAS:
            child, address = self._children.start_replica(name, delay)
            self._replicas.append(child)
            self._names[address] = f"{name} (~{delay * 1e3:.0f} ms)"
        for child, address in zip(self._replicas, self._names, strict=True):
            await _wait_until_ok(session, f"http://{address}/", child)

    def _introduce(self, listen: int, admin: int) -> None:
        replicas = zip(self._replicas, self._names, strict=True)
        pids = [f"{child.name} {address} (pid {child.process.pid})" for child, address in replicas]
        first = next(iter(self._names))
        for line in (
            f"balancer   http://127.0.0.1:{listen}/",
            *(f"{'' if number else 'replicas':<11}{pid}" for number, pid in enumerate(pids)),
            f"dashboard  http://127.0.0.1:{admin}/   also /metrics, /api/pools, /api/events",
            f"try        curl -i http://127.0.0.1:{listen}/",
            f"           curl -X POST http://{first}/ill    (answers 500; then /well)",
            f"           {_command()} events --follow --admin http://127.0.0.1:{admin}",
            "Ctrl-C stops everything.",
        ):
            self._console.print(line)

    async def _watch(
        self, session: aiohttp.ClientSession, url: str, balancer: Child, load: Load | None
    ) -> None:
        loop = asyncio.get_running_loop()
        terminal = sys.stdout.isatty()
        with display_for(self._console) as display:
            # If the terminal hangs up we may not get HUP: under make it goes to make, which waits for us.
            while sys.stdout.isatty() is terminal:
                _require_running(balancer)
                try:
                    async with session.get(url) as response:
                        response.raise_for_status()
                        stats = read_stats(await response.json())
                except (aiohttp.ClientError, TimeoutError):
                    pass  # busy or ending: the next turn shows which
                else:
                    display.show(rows(stats, self._names), self._note(load), loop.time())
                await asyncio.sleep(REFRESH)

    def _note(self, load: Load | None) -> str:
        notes = [f"{child.name} has ended" for child in self._replicas if child.has_ended()]
        if load is not None:
            notes.append(f"load: {load.sent:,} requests, {load.failed:,} failed")
        return "; ".join(notes)


def _command() -> str:
    """How this program was called, so that the printed commands can be typed."""
    name = sys.argv[0]
    return "python -m balancer" if name.endswith("__main__.py") else name


def free_port(first: int) -> int:
    """The first free loopback port from `first` on; `StartupError` after PORTS_TRIED ports."""
    for port in range(first, first + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections do not matter
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartupError(
        f"ports {first} to {first + PORTS_TRIED - 1} of 127.0.0.1 are all in use; free one of them"
    )


async def _wait_until_ok(session: aiohttp.ClientSession, url: str, child: Child) -> None:
    """Wait until `url` answers 200; `StartupError` if its process ends before, or after START_SECONDS."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    while loop.time() < deadline:
        _require_running(child)
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return
        except (aiohttp.ClientError, TimeoutError):
            pass  # not listening yet
        await asyncio.sleep(0.05)
    raise StartupError(
        f"{child.name} was not ready after {START_SECONDS:.0f} s; it printed:\n{child.last_words()}"
    )


def _require_running(child: Child) -> None:
    if child.has_ended():
        words = child.last_words() or "  nothing"
        raise StartupError(f"{child.name} ended with code {child.process.returncode}; it printed:\n{words}")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
