"""A whole balancer in its own processes, for integration tests."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.forkserver import Process, start

PATIENCE = 20.0  # seconds after which a test has failed; no passing test waits that long
POLL = 0.02
_LISTENS = re.compile(r" listens on (\S+):(\d+),(?: TLS on \S+:(\d+),)? admin on (\S+):(\d+);")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `raw` is everything up to the end of the connection, or of the body."""

    status: int
    head: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection to the balancer; the caller closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> "Client":
        async with asyncio.timeout(PATIENCE):
            return cls(*await asyncio.open_connection(host, port))

    def send(self, target: str = "/", method: str = "GET") -> None:
        length = "" if method == "GET" else "Content-Length: 0\r\n"
        self._writer.write(f"{method} {target} HTTP/1.1\r\nHost: test.localhost\r\n{length}\r\n".encode())

    async def answer(self) -> Answer:
        """The next response; raises IncompleteReadError or ConnectionError if there is none."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await self._reader.readexactly(int(length[1])) if length else await self._reader.read()
        return Answer(int(head.split(" ")[1]), head, body)

    async def ended(self) -> bytes:
        """What was received before the balancer closed."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):  # a reset is an end too
            await self._writer.wait_closed()


async def get(port: int, target: str = "/", host: str = "127.0.0.1") -> Answer:
    """One request on its own connection."""
    client = await Client.connect(port, host)
    try:
        client.send(target)
        return await client.answer()
    finally:
        await client.close()


def _is_worker(process: Path) -> bool:
    """At the start the supervisor has another child, which reads the settings."""
    try:
        return b"balancer.runtime.worker" in (process / "cmdline").read_bytes()
    except OSError:  # it has just ended
        return False


class Balancer:
    """A supervisor's process, its ports, and its output."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pid = process.pid
        self.host = ""
        self.port = 0
        self.admin_port = 0
        self.tls_port = 0  # if there is a TLS listener
        self.stderr: list[str] = []
        self.stdout: list[str] = []
        self._clients = AsyncExitStack()
        self._said = asyncio.Condition()
        self._streams_open = 2
        self._reading = [
            asyncio.create_task(self._read(process.stderr, self.stderr)),
            asyncio.create_task(self._read(process.stdout, self.stdout)),
        ]

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            async with self._said:
                lines.append(line.decode().rstrip("\n"))
                self._said.notify_all()
        self._streams_open -= 1
        async with self._said:
            self._said.notify_all()

    async def _has_said(self, enough: Callable[[], bool]) -> None:
        """Wait for output until `enough` returns true, or until the output has ended."""
        async with asyncio.timeout(PATIENCE), self._said:
            await self._said.wait_for(lambda: enough() or not self._streams_open)
        assert enough(), "it has ended before it said that"

    async def says(self, text: str) -> str:
        """Wait for the first line on stderr that contains `text`."""
        await self._has_said(lambda: any(text in line for line in self.stderr))
        return next(line for line in self.stderr if text in line)

    async def logs_access(self, count: int) -> list[Any]:
        """The access log, once it has `count` lines."""
        await self._has_said(lambda: len(self.stdout) >= count)
        return [json.loads(line) for line in self.stdout]

    async def connect(self) -> Client:
        """A client; closed when the test ends."""
        client = await Client.connect(self.port)
        self._clients.push_async_callback(client.close)
        return client

    async def established(self) -> None:
        """Wait until it has logged where it listens."""
        match = _LISTENS.search(await self.says(", admin on "))
        assert match is not None
        self.host = match[1].strip("[]")
        self.port, self.admin_port = int(match[2]), int(match[5])
        self.tls_port = int(match[3] or 0)

    async def readiness(self) -> Answer:
        return await get(self.admin_port, "/readyz")

    async def becomes_ready(self) -> None:
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.readiness()).status == 200

    async def metric(self, series: str) -> float:
        """The value of a series, 0.0 if it does not exist."""
        for line in (await get(self.admin_port, "/metrics")).body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return 0.0

    async def shows(self, series: str, value: float) -> None:
        """Wait until a series has this value: a worker stores counts just after it has answered."""
        last = -1.0

        async def is_shown() -> bool:
            nonlocal last
            last = await self.metric(series)
            return last == value

        try:
            await until(is_shown)
        except TimeoutError:
            raise AssertionError(f"{series} is {last}, not {value}") from None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The pids of the worker processes."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split() if _is_worker(Path(f"/proc/{pid}"))]

    async def exit_code(self) -> int:
        """Wait for the exit; returns the exit code. All output has been read by then."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await asyncio.gather(*self._reading)
        return code

    async def end(self) -> None:
        """Close its clients, and kill it and its workers."""
        try:
            await self._clients.aclose()
        finally:
            self._kill()
            await self.exit_code()

    def _kill(self) -> None:
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError, FileNotFoundError):  # each may exit by itself at any time
            workers = self.workers()
            self.process.kill()
            for pid in workers:
                # Workers exit when their supervisor is gone, except those that a test has stopped.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll an async condition until it is true."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(POLL)


async def stop(pid: int) -> None:
    """Stop a process, and wait until it has stopped: signal delivery takes a moment."""
    os.kill(pid, signal.SIGSTOP)

    async def has_stopped() -> bool:
        return _state(pid) == "T"

    await until(has_stopped)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


@asynccontextmanager
async def launched(module: str = "balancer", **settings: str) -> AsyncIterator[Balancer]:
    """A balancer that is being started on free ports; killed with its workers when the test ends. `module` is
    run instead of the command `balancer`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    environ |= {"BALANCER_LISTEN": "127.0.0.1:0", "BALANCER_ADMIN_LISTEN": "127.0.0.1:0"}
    # Below any sane open-file limit, so that there is no warning about it.
    environ |= {"BALANCER_LIMITS__MAX_CONNECTIONS": "100"}
    environ |= {f"BALANCER_{name}": value for name, value in settings.items()}
    process = await start(module, environ=environ)
    balancer = Balancer(process)
    try:
        yield balancer
    except BaseException as error:
        error.add_note("\n".join(["the balancer said:", *balancer.stderr]))
        raise
    finally:
        await balancer.end()


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[Balancer]:
    """A balancer that is ready."""
    async with launched(**settings) as balancer:
        await balancer.established()
        yield balancer


async def event(balancer: Balancer, kind: str, after: int = 0) -> dict[str, Any]:
    """The first event of this kind later than the revision `after`, when it comes."""
    while True:
        answer = await get(balancer.admin_port, f"/api/events?after={after}&wait=20")
        events: list[dict[str, Any]] = answer.json()["events"]
        assert events, f"nothing happened for 20 s, and nothing was {kind}"
        for one in events:
            if one["kind"] == kind:
                return one
        after = events[-1]["revision"]
