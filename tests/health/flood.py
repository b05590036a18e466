"""Apps whose responses never end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 20.0  # seconds to start, and to end
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


class Flood:
    """Servers that send `first`, and then `unit` for as long as it is read; in their own thread."""

    def __init__(self, first: bytes, unit: bytes, count: int, every: float) -> None:
        """`every` is in seconds; 0 is as fast as it is read. `count` servers, each on its own port."""
        self._first = first
        self._unit = unit if every else unit * max(1, 65536 // len(unit))
        self._every = every
        self._count = count
        self._ready = threading.Event()
        self._ends: Callable[[], object] = self._ready.wait
        self.ports: list[int] = []
        self.sent = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self._write(writer, self._first)
            while self._unit:
                await self._write(writer, self._unit)
                await asyncio.sleep(self._every)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)

    async def _run(self) -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._ends = lambda: loop.call_soon_threadsafe(end.set)
        servers = [await asyncio.start_server(self._serve, "127.0.0.1", 0) for _ in range(self._count)]
        self.ports = [server.sockets[0].getsockname()[1] for server in servers]
        self._ready.set()
        await end.wait()
        for server in servers:
            server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    @classmethod
    @contextmanager
    def running(cls, first: bytes, unit: bytes, count: int, every: float = 0.0) -> "Iterator[Flood]":
        """The servers run until the end of the block."""
        flood = cls(first, unit, count, every)
        thread = threading.Thread(target=lambda: asyncio.run(flood._run()))
        thread.start()
        assert flood._ready.wait(PATIENCE)
        try:
            yield flood
        finally:
            flood._ends()
            thread.join(PATIENCE)
