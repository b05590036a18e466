"""Active checks end to end: real sockets, the real clock, and a sink that a test can wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from balancer.clock import SystemClock
from balancer.health.active import ActiveChecks
from balancer.health.probe import Probes
from balancer.health.result import CheckResult, Result
from balancer.spec.part import replaced
from tests.health.harness import SETTINGS, FakeUpstream
from tests.health.raw_server import RawServer, raw_server

PATIENCE = 20.0  # seconds after which a test has failed
FAST = replaced(SETTINGS, interval=0.05, timeout=0.3)

pytestmark = pytest.mark.integration


class Instance:
    """Checks of one upstream at `server`."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.upstream = FakeUpstream("app1", "127.0.0.1", server.port)
        self.checks = ActiveChecks[FakeUpstream](
            clock=SystemClock(),
            random=Random(1),
            sink=self,
            open_probe=Probes(),
            loop=asyncio.get_running_loop(),
        )

    def failing(self, upstream: FakeUpstream, why: str) -> None:
        self.told.put_nowait("failing")

    def passing(self, upstream: FakeUpstream, why: str) -> None:
        self.told.put_nowait("passing")

    def draining(self, upstream: FakeUpstream, on: bool, why: str) -> None:
        self.told.put_nowait(f"draining {on}")

    def passed_first(self, upstream: FakeUpstream, what: str) -> None:
        self.told.put_nowait("checked")

    def unanswered(self, upstream: FakeUpstream, why: str) -> None:
        """Not needed: `failing` is enough."""

    def served(self, upstream: FakeUpstream) -> int:
        return 0

    def answers(self, upstream: FakeUpstream) -> int:
        return 0

    def silent(self, upstream: FakeUpstream, since_ns: int) -> None:
        if since_ns:
            self.told.put_nowait("silent")

    def is_busy(self, upstream: FakeUpstream) -> bool:
        return False

    async def hears(self, *what: str) -> None:
        async with asyncio.timeout(PATIENCE):
            assert [await self.told.get() for _ in what] == list(what)

    @property
    def last(self) -> CheckResult:
        last = self.checks.last(self.upstream)
        assert last is not None
        return last


@asynccontextmanager
async def instance() -> AsyncIterator[Instance]:
    async with raw_server() as server:
        one = Instance(server)
        one.checks.add(one.upstream, FAST)
        one.checks.start()
        await one.hears("checked")
        try:
            yield one
        finally:
            await one.checks.close()


def errors(server: RawServer) -> None:
    server.answer = [b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"]


def hangs(server: RawServer) -> None:
    server.answer = None


def closes(server: RawServer) -> None:
    server.close_new = True
    server.hang_up()


def babbles(server: RawServer) -> None:
    server.answer = [b"\x00\x01\x02\r\n\r\n"]


@pytest.mark.parametrize(
    ("goes_bad", "result"),
    [
        (errors, Result.STATUS),
        (hangs, Result.TIMEOUT),
        (closes, Result.CLOSED),
        (babbles, Result.MALFORMED),
    ],
)
async def test_a_replica_is_reported_failing_and_passing_over_real_sockets(
    goes_bad: Callable[[RawServer], None], result: Result
) -> None:
    async with instance() as one:
        well = one.server.answer
        goes_bad(one.server)
        await one.hears("failing")
        assert one.last.result is result
        one.server.answer = well
        one.server.close_new = False
        await one.hears("passing")


async def test_the_connection_of_a_removed_upstream_is_closed() -> None:
    async with instance() as one:
        one.checks.remove(one.upstream)
        async with asyncio.timeout(PATIENCE):
            await one.server.idle()


async def test_no_connection_is_left_after_the_end() -> None:
    async with instance() as one:
        hangs(one.server)
        await one.checks.close()
        async with asyncio.timeout(PATIENCE):
            await one.server.idle()
        assert len(asyncio.all_tasks()) == 1
