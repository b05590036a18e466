"""An app whose target says how its response ends, and how long it is."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CUT = 100_000  # bytes of a body that breaks off


class BodyApp:
    """`/BYTES` sends a body with its length, `/closing/BYTES` one that ends with the connection, `/cut`
    resets in the middle of such a body, `/echo` returns the body of the request, `/head` the head of the
    request. `sent` counts the bytes of bodies."""

    def __init__(self) -> None:
        self.port = 0
        self.sent = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the other side has closed, or the test has ended
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One response; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        target = head.split(b" ")[1].decode()
        if target == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await self._send(writer, CUT)
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if target.startswith("/closing/"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await self._send(writer, int(target.rpartition("/")[2]))
            return False
        if target in ("/echo", "/head"):
            answer = body if target == "/echo" else head
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
            writer.write(answer)
        else:
            count = int(target[1:] or "5")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
            await self._send(writer, count)
        await writer.drain()
        return True

    async def _send(self, writer: asyncio.StreamWriter, count: int) -> None:
        while count > 0:
            piece = min(count, 65536)
            writer.write(b"x" * piece)
            await writer.drain()
            self.sent += piece
            count -= piece

    async def stop(self) -> None:
        """End all connections."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def body_app(tls: ssl.SSLContext | None = None) -> AsyncIterator[BodyApp]:
    """One that listens on a free port of 127.0.0.1, with or without TLS."""
    app = BodyApp()
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0, ssl=tls)
    app.port = server.sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.close()
        await app.stop()
        await server.wait_closed()
