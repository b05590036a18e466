"""What apps for tests have in common: their connections, which end with the test."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class App(ABC):
    """A small server; `address` is as in UPSTREAMS, once it listens."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @abstractmethod
    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; returns whether the connection goes on."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self.answer(reader, writer):
                pass
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
    async def listening(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """On a port, 0 for any free one, with or without TLS."""
        server = await asyncio.start_server(self.serve, self.host, port, ssl=tls, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self.server = server
        try:
            yield
        finally:
            server.close()
            await self.stop()
            await server.wait_closed()
