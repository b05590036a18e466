"""A name with several addresses whose present one dies: the next one listed by DNS is used at once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, get, launched, stop, until
from tests.fakes.lone_worker import lone_worker
from tests.fakes.names import FILE, Names

pytestmark = pytest.mark.integration

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


class Harness:
    """Two machines behind the name `app`, all the time."""

    def __init__(self, stack: AsyncExitStack, first: AppReplica, second: AppReplica) -> None:
        self._stack = stack
        self.first = first
        self.second = second

    async def balancer(self, **settings: str) -> Balancer:
        upstream = f"app:{self.first.port}"
        balancer = await self._stack.enter_async_context(
            launched("tests.fakes.names", UPSTREAMS=upstream, **settings)
        )
        await balancer.established()
        return balancer


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setenv(FILE, str(tmp_path / "names"))
    Names(tmp_path / "names").say(app=[FIRST, SECOND])
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(app_replica("first", FIRST))
        second = await stack.enter_async_context(app_replica("second", SECOND, first.port))
        yield Harness(stack, first, second)


async def post(balancer: Balancer) -> tuple[int, bytes]:
    client = await balancer.connect()
    client.send(method="POST")
    answer = await client.answer()
    return answer.status, answer.body


async def address_event(balancer: Balancer) -> str:
    """The last address event."""
    events = (await get(balancer.admin_port, "/api/events")).json()["events"]
    return str([event["text"] for event in events if event["kind"] == "address"][-1])


@pytest.mark.parametrize("checks", ["on", "off"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_request_is_lost_when_an_address_refuses(
    harness: Harness, workers: str, checks: str
) -> None:
    settings = {"HEALTH_CHECK__ENABLED": checks, "HEALTH_CHECK__INTERVAL": "1h", "WORKERS": workers}
    balancer = await harness.balancer(**settings)
    assert await post(balancer) == (200, b"first")
    await harness.first.leave()
    for _ in range(20):
        assert await post(balancer) == (200, b"second")
    moved = f"is at {SECOND} (before: {FIRST}, which does not answer: connection refused)"
    assert await balancer.says(f"upstream app:{harness.first.port} of pool default {moved}")
    assert await address_event(balancer) == f"app:{harness.first.port} {moved}"

    async def is_there() -> bool:
        (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
        (upstream,) = pool["upstreams"]
        return bool(upstream["eligible"]) and upstream["address"] == harness.second.address

    await until(is_there)


async def test_an_address_that_swallows_costs_a_quarter_of_a_second_and_is_left(harness: Harness) -> None:
    """Like a machine that is gone: connects are not refused."""
    await harness.first.leave()
    with ExitStack() as sockets:
        full = sockets.enter_context(socket.create_server((FIRST, harness.first.port), backlog=0))
        sockets.enter_context(socket.create_connection(full.getsockname()))  # it has space for one
        balancer = await harness.balancer(HEALTH_CHECK__ENABLED="off", KEEPALIVE__MAX_IDLE="0")

        async def has_moved() -> bool:
            assert await post(balancer) == (200, b"second")
            return any("no connection within 250 ms, repeatedly" in line for line in balancer.stderr)

        await until(has_moved)
        assert await address_event(balancer) == (
            f"app:{harness.first.port} is at {SECOND} (before: {FIRST}, which does not answer: no "
            "connection within 250 ms, repeatedly)"
        )


async def test_an_address_that_accepts_and_is_silent_is_left_when_its_checks_fail(harness: Harness) -> None:
    balancer = await harness.balancer(HEALTH_CHECK__INTERVAL="200ms", HEALTH_CHECK__TIMEOUT="100ms")
    await balancer.becomes_ready()
    harness.first.hangs = True
    said = await balancer.says(
        f"is at {SECOND} (before: {FIRST}, which does not answer: no complete response"
    )
    assert "WARNING" in said

    async def serves() -> bool:
        return harness.second.requests > 0

    async def ask() -> bool:
        assert await post(balancer) == (200, b"second")
        return await serves()

    await balancer.says("passed its first check")
    await until(ask)


async def test_at_the_start_the_first_address_may_be_dead(harness: Harness) -> None:
    await harness.first.leave()
    balancer = await harness.balancer()
    for _ in range(5):
        assert await post(balancer) == (200, b"second")
    await balancer.says(f"is at {SECOND} (before: {FIRST}, which does not answer: ")


async def test_an_error_response_is_no_reason_to_change_the_address(harness: Harness) -> None:
    """Otherwise a wrong HEALTH_CHECK__PATH would move the clients back and forth."""
    harness.first.status = harness.second.status = 404
    balancer = await harness.balancer(HEALTH_CHECK__INTERVAL="100ms", HEALTH_CHECK__TIMEOUT="100ms")

    async def is_checked() -> bool:
        return harness.first.checks >= 10

    await until(is_checked)
    assert await post(balancer) == (404, b"first")
    assert harness.second.checks == 0


async def test_requests_waiting_at_a_frozen_address_move_with_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream is moved while the check that shows its silence is being concluded: that must not be
    lost."""
    monkeypatch.setenv(FILE, str(tmp_path / "names"))
    Names(tmp_path / "names").say(app=[FIRST, SECOND])
    async with AsyncExitStack() as stack:
        frozen = await stack.enter_async_context(lone_worker("frozen", tmp_path))
        port = int(frozen.address.rpartition(":")[2])
        await stack.enter_async_context(app_replica("second", SECOND, port))
        other = await stack.enter_async_context(app_replica("other"))
        balancer = await stack.enter_async_context(
            launched(
                "tests.fakes.names",
                UPSTREAMS=f"app:{port},{other.address}",
                POLICY="round_robin",
                HEALTH_CHECK__INTERVAL="300ms",
                HEALTH_CHECK__TIMEOUT="200ms",
            )
        )
        await balancer.established()
        await balancer.becomes_ready()
        await stop(frozen.pid)
        answers = await asyncio.gather(*(get(balancer.port) for _ in range(10)))
        assert [(answer.status, answer.body) for answer in answers] == [(200, b"other")] * 10
        assert SECOND in await address_event(balancer)
        lines = await balancer.logs_access(10)
        assert any(line["attempts"] == 2 for line in lines)
