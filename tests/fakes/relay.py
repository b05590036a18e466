"""A relay of TCP connections between a balancer and itself, so that addresses do not reveal the loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """Forwards bytes from `port` to port `target` of 127.0.0.1, which may be set at any time.

    Until then it accepts, and sends nothing. `connections` counts the forwarded ones.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self._target: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """The address in the form of UPSTREAMS."""
        return f"127.0.0.1:{self.port}"

    def lead_to(self, port: int) -> None:
        self._target.set_result(port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            port = await asyncio.shield(self._target)
            there, back = await asyncio.open_connection("127.0.0.1", port)
            self.connections += 1
            try:
                await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
            finally:
                back.close()
        except (ConnectionError, asyncio.CancelledError):
            return  # one side has closed, or the test has ended
        finally:
            writer.close()
            self._serving.discard(task)

    async def stop(self) -> None:
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    made = Relay()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.stop()
