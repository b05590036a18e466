"""An app whose target says how its response ends, and how long it is."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.app import App

CUT = 100_000  # bytes of a body that breaks off


class BodyApp(App):
    """`/BYTES` sends a body with its length, `/closing/BYTES` one that ends with the connection, `/cut`
    resets in the middle of such a body, `/echo` returns the body of the request, `/head` the head of the
    request. `sent` counts the bytes of bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
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


@asynccontextmanager
async def body_app(tls: ssl.SSLContext | None = None) -> AsyncIterator[BodyApp]:
    """One that listens on a free port of 127.0.0.1, with or without TLS."""
    app = BodyApp()
    async with app.listening(tls=tls):
        yield app
