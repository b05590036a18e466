"""Retries in a whole balancer: another replica answers for a failing one, unnoticed by the client."""

import asyncio
import socket
import struct
from contextlib import AsyncExitStack

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Answer, Balancer, Client, get, running

pytestmark = pytest.mark.integration


async def harness(stack: AsyncExitStack, **settings: str) -> tuple[Balancer, AppReplica, AppReplica]:
    """A balancer without checks in front of two replicas, in turn."""
    apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in (1, 2)]
    balancer = await stack.enter_async_context(
        running(
            UPSTREAMS=",".join(app.address for app in apps),
            POLICY="round_robin",
            HEALTH_CHECK__ENABLED="false",
            **settings,
        )
    )
    return balancer, apps[0], apps[1]


async def test_a_request_that_one_replica_cannot_answer_is_answered_by_another() -> None:
    async with AsyncExitStack() as stack:
        balancer, ill, well = await harness(stack)
        ill.status = 503
        answers = [await get(balancer.port) for _ in range(8)]
        assert {answer.status for answer in answers} == {200}
        assert well.requests == 8
        assert ill.requests > 0
        retries = 'balancer_retries_total{pool="default",reason="status"}'
        await balancer.shows(retries, ill.requests)


async def test_if_all_replicas_refuse_the_last_response_is_passed_on() -> None:
    async with AsyncExitStack() as stack:
        balancer, first, second = await harness(stack)
        first.status = second.status = 503
        answer = await get(balancer.port)
        assert (answer.status, "Proxy-Status" in answer.head) == (503, False)
        assert (first.requests, second.requests) == (1, 1)


async def test_retries_stay_within_their_budget() -> None:
    async with AsyncExitStack() as stack:
        balancer, ill, _ = await harness(
            stack, RETRY__BUDGET_RATIO="0", RETRY__BUDGET_MIN_PER_SECOND="0", RETRY__STATUSES="503"
        )
        ill.status = 503
        answers = [await get(balancer.port) for _ in range(10)]
        assert [answer.status for answer in answers].count(503) == ill.requests
        await balancer.shows('balancer_retry_budget_exhausted_total{pool="default"}', ill.requests)


async def test_a_backup_saves_every_request_while_the_only_replica_dies() -> None:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(app_replica("primary"))
        backup = await stack.enter_async_context(app_replica("backup"))
        upstreams = f"{primary.address},{backup.address}?backup=true"
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false")
        )
        assert [(await get(balancer.port)).body for _ in range(3)] == [b"primary"] * 3
        await primary.leave()
        assert [(await get(balancer.port)).body for _ in range(10)] == [b"backup"] * 10


class Crashing:
    """An app that reads a POST and is reset by its machine before it answers; it answers everything else."""

    def __init__(self) -> None:
        self.posts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"POST"):
                    self.posts += 1
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass  # the balancer has closed
        finally:
            writer.transport.abort()


async def test_a_post_read_before_a_reset_is_not_sent_again() -> None:
    app = Crashing()
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    async with server, AsyncExitStack() as stack:
        port = server.sockets[0].getsockname()[1]
        well = await stack.enter_async_context(app_replica("well"))
        balancer = await stack.enter_async_context(
            running(
                UPSTREAMS=f"127.0.0.1:{port},{well.address}",
                POLICY="round_robin",
                HEALTH_CHECK__ENABLED="false",
            )
        )
        for _ in range(4):  # both have an idle connection on which the kernel no longer acknowledges at once
            assert (await get(balancer.port)).status == 200
        served = well.requests
        statuses = [(await post(balancer.port)).status for _ in range(2)]
        assert sorted(statuses) == [200, 502]
        assert (app.posts, well.requests - served) == (1, 1)


async def post(port: int) -> Answer:
    client = await Client.connect(port)
    try:
        client.send(method="POST")
        return await client.answer()
    finally:
        await client.close()
