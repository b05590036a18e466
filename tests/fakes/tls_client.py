"""A TLS client, by OpenSSL, whose bytes are in the test's hands: it can stop anywhere, and sees how its
connection ends."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.fakes.tls_specs import client_context

T = TypeVar("T")
_PIECE = 1 << 16


class TlsClient:
    """`tls` is OpenSSL's state, `sock` the connection."""

    def __init__(self, sock: socket.socket, name: str | None, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def shake_hands(self) -> None:
        """Raises ssl.SSLError, or ConnectionError, if the server does not like us, or we do not like it."""
        await self._until(self.tls.do_handshake)

    def hello(self) -> bytes:
        """A ClientHello, not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        raise AssertionError("a handshake without an answer")

    def names(self) -> set[str]:
        """The names in the server's certificate."""
        found: Any = self.tls.getpeercert()  # its values have several types
        return {value for _, value in found["subjectAltName"]}

    async def send(self, data: bytes) -> None:
        """Send data."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            await self._until(lambda piece=piece: self.tls.write(piece))  # type: ignore[misc]  # no lambda has types

    async def receive(self) -> bytes:
        """Some data; b"" behind a close_notify. Raises ssl.SSLEOFError at a FIN without one, and
        ConnectionResetError at a reset."""
        try:
            return await self._until(lambda: self.tls.read(_PIECE))
        except ssl.SSLZeroReturnError:
            return b""

    async def until(self, end: bytes) -> bytes:
        """What comes, up to `end` at least."""
        data = b""
        while end not in data:
            piece = await self.receive()
            assert piece, data
            data += piece
        return data

    async def rest(self) -> bytes:
        """What comes up to the close_notify."""
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    async def ask(self, request: bytes, end: bytes = b"\r\n\r\nok") -> bytes:
        """Send a request, and read its response up to `end`."""
        await self.send(request)
        return await self.until(end)

    async def response(self, request: bytes) -> bytes:
        """The response to a request, which has a Content-Length."""
        await self.send(request)
        data = await self.until(b"\r\n\r\n")
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += await self.receive()
        return head + b"\r\n\r\n" + body

    async def end(self) -> None:
        """Send a close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            await self._flush()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._loop.sock_sendall(self.sock, data)

    async def _until(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
            else:
                await self._flush()
                return done
            if data := await self._loop.sock_recv(self.sock, _PIECE):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()


@asynccontextmanager
async def tls_client(
    port: int,
    name: str | None = "shop.example",
    context: ssl.SSLContext | None = None,
    *,
    receive_buffer: int = 0,
    begin: bool = True,
) -> AsyncIterator[TlsClient]:
    """A client of the server on that port of 127.0.0.1; its handshake is over, if it is to `begin` one."""
    with socket.socket() as sock:
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        client = TlsClient(sock, name, context or client_context())
        if begin:
            await client.shake_hands()
        yield client
