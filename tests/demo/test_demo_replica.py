"""The demo's own processes, really started: a replica's responses, and no process is left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import TypeAlias

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from balancer.demo.processes import Children
from balancer.demo.replica import STREAM_CHUNKS, Replica

Client: TypeAlias = TestClient[web.Request, web.Application]

WAIT = 15.0  # seconds; only a failing test takes that long


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT)) as session:
        yield session


@pytest.mark.integration
async def test_three_replicas_answer_and_end(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    children = Children(tmp_path)
    started = [children.start_replica(f"app{number}", 0.001) for number in (1, 2, 3)]
    try:
        names = []
        for _, address in started:
            # No waiting for readiness: the listening socket exists before the process.
            async with client.get(f"http://{address}/some/path") as response:
                assert response.status == 200
                names.append((await response.json())["replica"])
    finally:
        await children.stop()
    assert names == ["app1", "app2", "app3"]
    assert [child.process.returncode for child, _ in started] == [0, 0, 0]


@pytest.mark.integration
async def test_a_replica_ends_with_the_demo(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    children = Children(tmp_path)
    child, address = children.start_replica("app1", 0.001)
    try:
        async with client.get(f"http://{address}/") as response:
            assert response.status == 200
        assert child.process.stdin is not None
        child.process.stdin.close()  # as the kernel does when the demo is killed
        assert await asyncio.to_thread(child.process.wait, WAIT) == 0
    finally:
        await children.stop()


@pytest.mark.integration
async def test_last_words_are_the_end_of_the_output(tmp_path: Path) -> None:
    children = Children(tmp_path)
    child = children.start_balancer({"BALANCER_LISTEN": "nonsense"})
    try:
        assert await asyncio.to_thread(child.process.wait, WAIT) != 0
        assert child.last_words()
    finally:
        await children.stop()


@pytest.fixture
async def replica() -> AsyncIterator[Client]:
    async with TestClient(TestServer(Replica("app1", 0.0, Random(1)).application())) as client:
        yield client


async def test_a_request_body_is_counted(replica: Client) -> None:
    async with replica.post("/orders", data=b"x" * 100_000) as response:
        answer = await response.json()
    assert answer == {"replica": "app1", "method": "POST", "path": "/orders", "received": 100_000}


async def test_the_stream_arrives_in_lines(replica: Client) -> None:
    async with replica.get("/stream") as response:
        lines = (await response.text()).splitlines()
    assert len(lines) == STREAM_CHUNKS


async def test_the_websocket_echoes(replica: Client) -> None:
    async with replica.ws_connect("/ws") as websocket:
        await websocket.send_str("hello")
        assert await websocket.receive_str() == "app1: hello"
        await websocket.send_bytes(b"\x00\xff")
        assert await websocket.receive_bytes() == b"\x00\xff"


async def test_a_failing_replica_answers_500_until_it_recovers(replica: Client) -> None:
    statuses = []
    for path in ("/ill", "/well"):
        async with replica.post(path) as response:
            assert response.status == 200
        async with replica.get("/") as response:
            statuses.append(response.status)
    assert statuses == [500, 200]
