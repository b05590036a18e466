"""A proxy on real sockets in this process, on uvloop as in a worker, in front of scripted origins."""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, ParamSpec

import uvloop

from balancer.clients.data_plane import DataPlane
from balancer.clock import SystemClock
from balancer.config.address import Address
from balancer.messages import FromWorker
from balancer.runtime.acceptor import Acceptor
from balancer.runtime.build import build_data_plane
from balancer.runtime.sockets import open_listeners
from balancer.telemetry.segment import Segment
from tests.fakes.wire import Records, start_message, upstream_message

P = ParamSpec("P")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LIMIT = 30.0  # seconds; only failing tests take that long
SWEEP = 0.02


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an async test on the event loop that workers use."""

    @functools.wraps(test)
    def play(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(LIMIT):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return play


class RealSockets:
    """`port` is the proxy's, `tls_port` that of its TLS listener, if its spec has one. `errors` is what
    reached the event loop's handler, `logs` the proxy's log, `told` what the supervisor was told."""

    def __init__(self, ports: list[int], server_name: str, **changes: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.segment = Segment.create(1)
        self.records = Records()
        self.logs: list[tuple[str, str, str | None]] = []
        self.told: list[FromWorker] = []
        self.errors: list[str] = []
        start = start_message(
            [
                upstream_message(number, host="127.0.0.1", port=port, server_name=server_name)
                for number, port in enumerate(ports, 1)
            ],
            **changes,
        )
        self.proxy: DataPlane = build_data_plane(
            start,
            loop=self.loop,
            segment=self.segment,
            clock=SystemClock(),
            access_log=self.records.access_log,
            log=lambda *line: self.logs.append(line),
            tell=self._told,
        )
        self.port = 0
        self.tls_port = 0
        self._acceptor: Acceptor | None = None
        self._swept = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def _told(self, message: FromWorker) -> bool:
        self.told.append(message)
        return True

    async def open(self) -> None:
        self.loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
        self._server = await self.loop.create_server(self.proxy.client_protocol, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.proxy.handshakes is not None:
            sock = open_listeners(Address("127.0.0.1", 0), 1)[0]
            self.tls_port = sock.getsockname()[1]
            self._acceptor = Acceptor(sock, self.proxy.handshakes.protocol)
            await self._acceptor.start()
        self._sweep()

    def _sweep(self) -> None:
        self.proxy.sweep()
        self._swept.set()
        self._swept = asyncio.Event()
        self._timer = self.loop.call_later(SWEEP, self._sweep)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns at the first sweep after which `condition` holds."""
        while not condition():
            await self._swept.wait()

    async def sweeps(self, count: int) -> None:
        """Returns after this many more sweeps."""
        for _ in range(count):
            await self._swept.wait()

    @property
    def inflight(self) -> list[int]:
        return [upstream.inflight for upstream in self.proxy.router.routes[-1].side.pool.upstreams]

    async def connect(self, receive_buffer: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw client."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await self.loop.sock_connect(sock, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=sock, limit=2**16)

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        if self._acceptor is not None:
            self._acceptor.close()
        self.proxy.drain()
        self.proxy.abort_all()
        await self.until(lambda: self.proxy.connections == 0)
        assert self._timer is not None
        self._timer.cancel()
        self.segment.close()
        assert self.inflight == [0] * len(self.inflight)
        assert self.proxy.context.batch.running == 0
        assert self.errors == []
        assert self.logs == []


@asynccontextmanager
async def real_sockets(
    *origins: Handler | int, app_tls: ssl.SSLContext | None = None, server_name: str = "", **changes: Any
) -> AsyncIterator[RealSockets]:
    """A proxy in front of `origins`, each a connection handler or the port of a server; `changes` as
    usual. With `app_tls` the handlers speak TLS, and are asked for `server_name`."""
    async with AsyncExitStack() as stack:
        ports = [
            one if isinstance(one, int) else await stack.enter_async_context(origin(one, app_tls))
            for one in origins
        ]
        made = RealSockets(ports, server_name, **changes)
        await made.open()
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def origin(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of `handler` on a free port, with or without TLS. Handlers that still run at the end are
    cancelled."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the proxy has let go, or the test is over
        finally:
            serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """One head, with its empty line."""
    return await reader.readuntil(b"\r\n\r\n")


def unused_port() -> int:
    """A port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that swallows connects: its accept queue is full, so the kernel drops what comes."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        first.connect(address)
        second.setblocking(False)
        second.connect_ex(address)
        yield address[1]
