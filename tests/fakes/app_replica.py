"""A real, small HTTP server for integration tests: the program behind an upstream."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.app import App

PATIENCE = 20.0  # seconds after which a test has failed


class AppReplica(App):
    """Answers with `status` and `name`; `/hold` waits until `release` is set, `/cut` breaks off.

    With `takes` it works on one request at a time, for that many seconds each, and all others wait in its
    backlog, including checks; while it `hangs` it answers nothing. `requests` counts clients' requests,
    `checks` those of the balancer's active checks, `passed` the checks answered with 200; `most_held` is the
    largest number of requests that waited for `release` at once. `heads` are those of the last requests of
    clients.
    """

    def __init__(self, name: str = "app", host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self.name = name
        self.status = 200
        self.takes = 0.0
        self.hangs = False
        self.requests = 0
        self.checks = 0
        self.passed = 0
        self.most_held = 0
        self.heads: deque[bytes] = deque(maxlen=100)
        self._held_now = 0
        self.release = asyncio.Event()
        self._line = asyncio.Lock()
        self._held = asyncio.Semaphore(0)  # released once for each waiting request

    async def holds(self) -> None:
        """Wait until one more request waits for `release`."""
        async with asyncio.timeout(PATIENCE):
            await self._held.acquire()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        is_check = b"User-Agent: balancer-check/" in head
        if is_check:
            self.checks += 1
        else:
            self.requests += 1
            self.heads.append(head)
        target = head.split(b" ")[1]
        if target == b"/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            return False
        if target == b"/hold":
            self._held.release()
            self._held_now += 1
            self.most_held = max(self.most_held, self._held_now)
            try:
                await self.release.wait()
            finally:
                self._held_now -= 1
        if self.takes:
            async with self._line:
                await asyncio.sleep(self.takes)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        self.passed += is_check and self.status == 200
        body = self.name.encode()
        response = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%s"
        writer.write(response % (self.status, len(body), body))
        await writer.drain()
        return True


@asynccontextmanager
async def app_replica(
    name: str = "app", host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[AppReplica]:
    """A replica that listens on a free port of 127.0.0.1, or at the given address, with or without TLS."""
    replica = AppReplica(name, host)
    async with replica.listening(port, tls):
        yield replica
