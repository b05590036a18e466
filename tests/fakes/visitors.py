"""Clients that come at a steady rate and retry nothing: on new connections, and on ones that they keep."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

PATIENCE = 5.0  # seconds for one request
REGULARS = 5
OK = "ok"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Visit(NamedTuple):
    """One request, by the monotonic clock. `outcome` is OK, or what went wrong."""

    begun: float
    ended: float
    outcome: str


class Visitors:
    """Every `every` seconds a client with a connection of its own (GET), and a few that keep theirs (POST)
    until a response says that it is the last."""

    def __init__(self, connect: Callable[[], Awaitable[Stream]], every: float) -> None:
        self.visits: list[Visit] = []
        self._connect = connect
        self._every = every

    def failures(self) -> Counter[str]:
        return Counter(visit.outcome for visit in self.visits if visit.outcome != OK)

    def gap(self) -> float:
        """Seconds from the first failure to the last; 0 without any."""
        failed = [visit for visit in self.visits if visit.outcome != OK]
        return max(visit.ended for visit in failed) - min(visit.begun for visit in failed) if failed else 0.0

    def longest(self) -> float:
        """Seconds of the request that took longest."""
        return max(visit.ended - visit.begun for visit in self.visits)

    @asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._come(group))]
            tasks += [group.create_task(self._stay()) for _ in range(REGULARS)]
            yield
            for task in tasks:
                task.cancel()

    async def _come(self, group: asyncio.TaskGroup) -> None:
        while True:
            group.create_task(self._visit(None, "GET"))
            await asyncio.sleep(self._every)

    async def _stay(self) -> None:
        stream: Stream | None = None
        try:
            while True:
                stream = await self._visit(stream, "POST")
                await asyncio.sleep(self._every)
        finally:
            if stream is not None:
                await close(stream)

    async def _visit(self, stream: Stream | None, method: str) -> Stream | None:
        """One request; returns its connection if that may be used again."""
        begun = time.monotonic()
        outcome, kept = OK, None
        try:
            async with asyncio.timeout(PATIENCE):
                stream = stream or await self._connect()
                if await ask(stream, method):
                    kept = stream
        except (OSError, EOFError, TimeoutError) as error:
            outcome = type(error).__name__
        self.visits.append(Visit(begun, time.monotonic(), outcome))
        if stream is not None and (kept is None or method == "GET"):
            await close(stream)
        return kept


async def ask(stream: Stream, method: str = "GET", target: str = "/", host: str = "a") -> bool:
    """One request, whose answer must be 200; returns whether the connection goes on."""
    reader, writer = stream
    length = "" if method == "GET" else "Content-Length: 0\r\n"
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        raise ConnectionError(head.partition(b"\r\n")[0].decode())
    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return b"\r\nconnection: close\r\n" not in head


async def asked(connect: Callable[[], Awaitable[Stream]], target: str, host: str = "a") -> bool:
    """Whether one request on a connection of its own is answered with 200."""
    with suppress(OSError, EOFError):
        stream = await connect()
        try:
            await ask(stream, target=target, host=host)
            return True
        finally:
            await close(stream)
    return False


async def close(stream: Stream) -> None:
    stream[1].close()
    with suppress(OSError):  # a reset is an end too
        await stream[1].wait_closed()
