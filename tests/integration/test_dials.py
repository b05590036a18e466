"""Dials over real sockets, on uvloop as in a worker, and on asyncio's own loop: how each can end, and that
none leaves a descriptor behind."""

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import uvloop

from balancer.clock import SystemClock
from balancer.connections.connector import Connector
from balancer.errors import CONNECT_FAILED, CONNECT_REFUSED, CONNECT_TIMEOUT, Outcome
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.upstream import Upstream
from tests.connections.test_connector import KEEPALIVE
from tests.fakes.dialler import FakeDialler
from tests.fakes.specs import UPSTREAM_TLS
from tests.proxy.real_sockets import LIMIT, black_hole, unused_port

pytestmark = pytest.mark.integration

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
HERE = "127.0.0.1"


class Dials:
    """A connector on the running loop. `errors` is what reached the loop's handler."""

    def __init__(self, timeout: float | None = 0.1) -> None:
        self.loop = asyncio.get_running_loop()
        self.errors: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
        self.moves: list[tuple[str, str]] = []
        self.timeout = timeout
        self.connector = Connector(
            self.loop,
            SystemClock(),
            32768,
            100,
            lambda *said: None,
            lambda _, *move: self.moves.append(move),
        )

    def dial(self, port: int, host: str = HERE, *other_hosts: str) -> FakeDialler:
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        upstream = Upstream(f"app:{port}", host, port, 1, cells)
        upstream.other_hosts = other_hosts
        self.connector.add(upstream, KEEPALIVE, self.timeout, UPSTREAM_TLS)
        return FakeDialler(self.connector, upstream)

    async def ended(self, dialler: FakeDialler) -> None:
        while not dialler.ends:
            await self.turns(1)

    async def turns(self, count: int = 10) -> None:
        for _ in range(count):
            await asyncio.sleep(0)


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest) -> Callable[[Callable[[Dials], Awaitable[None]]], None]:
    """Runs a scene on a loop; then nothing may be left of it."""

    async def bounded(scene: Callable[[Dials], Awaitable[None]]) -> None:
        before = open_sockets()
        dials = Dials()
        async with asyncio.timeout(LIMIT):
            await scene(dials)
            dials.connector.close()
            await dials.turns()
            assert open_sockets() == before
            assert dials.errors == []

    def run(scene: Callable[[Dials], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(bounded(scene))

    return run


Play = Callable[[Callable[[Dials], Awaitable[None]]], None]


def open_sockets() -> set[str]:
    """Those of this process; a loop may open other descriptors when it needs them first."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return {one for one in found if one.startswith("socket:")}


@contextmanager
def listening(host: str = HERE) -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connects(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with listening() as port:
            dialler = dials.dial(port)
            await dials.ended(dialler)
            assert dialler.connection.transport.get_extra_info("peername") == (HERE, port)
            dialler.connection.cancel()

    play(scene)


def test_connects_by_ipv6(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            dialler = dials.dial(server.getsockname()[1], "::1")
            await dials.ended(dialler)
            dialler.connection.cancel()

    play(scene)


def test_refused(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        dialler = dials.dial(unused_port())
        await dials.ended(dialler)
        assert dialler.failure is not None
        assert dialler.failure.failure is CONNECT_REFUSED

    play(scene)


def test_times_out(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with black_hole() as port:
            dialler = dials.dial(port)
            await dials.ended(dialler)
            assert dialler.failure is not None
            assert dialler.failure.failure is CONNECT_TIMEOUT
            await dials.turns()
            assert dialler.ends == 1

    play(scene)


def test_no_descriptors_left(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with listening() as port:
            with no_descriptors_left():
                dialler = dials.dial(port)
            await dials.ended(dialler)
            assert dialler.failure is not None
            assert dialler.failure.failure is CONNECT_FAILED
            assert dialler.failure.outcome is Outcome.CANCELLED
            assert dialler.failure.detail == "EMFILE"

    play(scene)


def test_cancelled_while_it_connects(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with black_hole() as port:
            dialler = dials.dial(port)
            await dials.turns()
            dialler.cancel()
            await dials.turns()
            assert dialler.ends == 0

    play(scene)


@pytest.mark.parametrize("turns", range(6))
def test_cancelled_in_any_turn_of_its_connect(play: Play, turns: int) -> None:
    async def scene(dials: Dials) -> None:
        with listening() as port:
            dialler = dials.dial(port)
            await dials.turns(turns)
            dialler.cancel()
            ended = dialler.ends
            await dials.turns()
            assert dialler.ends == ended
            if ended:
                dialler.connection.cancel()

    play(scene)


def test_another_address_of_the_name_where_its_own_swallows_connects(play: Play) -> None:
    async def scene(dials: Dials) -> None:
        with black_hole() as port, socket.create_server(("127.0.0.2", port)):
            dials.connector.close()
            patient = Dials(timeout=5.0)
            dialler = patient.dial(port, HERE, "127.0.0.2")
            await patient.ended(dialler)
            assert dialler.connection.transport.get_extra_info("peername") == ("127.0.0.2", port)
            dialler.connection.cancel()
            patient.connector.close()
            assert patient.errors == []

    play(scene)
