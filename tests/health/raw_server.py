"""A server that answers checks with the test's bytes, on real sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RawServer:
    """Answers every request with `answer` (each of its parts in its own write).

    A connection is closed after its answer if `close_after` is set, reset if `reset_after` is, and closed
    before anything is read if `close_new` is; an answer of None is no answer.
    """

    def __init__(self) -> None:
        self.answer: list[bytes] | None = [OK]
        self.close_after = False
        self.reset_after = False
        self.close_new = False
        self.port = 0
        self.connections = 0
        self.heads: list[str] = []
        self.asked = asyncio.Event()  # the first request has arrived
        self.open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self.open[writer] = task
        self.connections += 1
        try:
            while not self.close_new:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                self.asked.set()
                if self.answer is None:
                    await reader.read()
                    return
                for part in self.answer:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.reset_after:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                if self.close_after or self.reset_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            del self.open[writer]
            writer.close()

    async def idle(self) -> None:
        """Wait until the other side has closed every connection."""
        while self.open:
            await asyncio.wait(self.open.values())

    def hang_up(self) -> None:
        """Close all connections."""
        for task in self.open.values():
            task.cancel()


@asynccontextmanager
async def raw_server(host: str = "127.0.0.1") -> AsyncIterator[RawServer]:
    """A server on a free port of `host`."""
    raw = RawServer()
    server = await asyncio.start_server(raw.serve, host, 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        raw.hang_up()
        async with asyncio.timeout(20):
            await raw.idle()
            await server.wait_closed()
