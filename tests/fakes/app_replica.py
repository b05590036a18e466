"""A real, small HTTP server for integration tests: the program behind an upstream."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PATIENCE = 20.0  # seconds after which a test has failed


class AppReplica:
    """Answers with `status` and `name`; `/hold` waits until `release` is set, `/cut` breaks off.

    With `takes` it works on one request at a time, for that many seconds each, and all others wait in its
    backlog, including checks; while it `hangs` it answers nothing. `requests` counts clients' requests,
    `checks` those of the balancer's active checks, `passed` the checks answered with 200; `most_held` is the
    largest number of requests that waited for `release` at once.
    """

    def __init__(self, name: str = "app", host: str = "127.0.0.1") -> None:
        self.name = name
        self.host = host
        self.port = 0
        self.status = 200
        self.takes = 0.0
        self.hangs = False
        self.requests = 0
        self.checks = 0
        self.passed = 0
        self.most_held = 0
        self._held_now = 0
        self.release = asyncio.Event()
        self.server: asyncio.Server | None = None
        self._line = asyncio.Lock()
        self._held = asyncio.Semaphore(0)  # released once for each waiting request
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """The address in the form of UPSTREAMS."""
        return f"{self.host}:{self.port}"

    async def holds(self) -> None:
        """Wait until one more request waits for `release`."""
        async with asyncio.timeout(PATIENCE):
            await self._held.acquire()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                is_check = b"User-Agent: balancer-check/" in head
                if is_check:
                    self.checks += 1
                else:
                    self.requests += 1
                target = head.split(b" ")[1]
                if target == b"/cut":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    return
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
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the other side has closed, or the test has ended
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(task)

    async def leave(self) -> None:
        """Stop listening, and end all connections."""
        if self.server is not None:
            self.server.close()
        await self.stop()

    async def stop(self) -> None:
        """End all connections."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def app_replica(
    name: str = "app", host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[AppReplica]:
    """A replica that listens on a free port of 127.0.0.1, or at the given address, with or without TLS."""
    replica = AppReplica(name, host)
    server = await asyncio.start_server(replica.serve, host, port, ssl=tls)
    replica.port = server.sockets[0].getsockname()[1]
    replica.server = server
    try:
        yield replica
    finally:
        server.close()
        await replica.stop()
        await server.wait_closed()
