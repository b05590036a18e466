"""The admin application over an instance in the test's hand."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from balancer.admin.app import build_app
from balancer.admin.view import PoolView, UpstreamView
from balancer.telemetry.columns import BUCKETS

UPSTREAM = UpstreamView(
    id="app1:8000",
    address="10.0.0.1:8000",
    weight=3,
    inflight=2,
    idle_connections=1,
    requests=5,
    codes={"200": 4, "503": 1},
    first_byte_buckets=[1] * (len(BUCKETS) + 1),
    first_byte_sum=0.25,
)


class FakeInstance:
    """Ready, with one pool, until told otherwise."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def unready(self) -> list[str]:
        return self.reasons

    def pools(self) -> list[PoolView]:
        return [PoolView("default", "least_connections", [UPSTREAM])]

    def scrape(self) -> bytes:
        return b"balancer_worker_up 1.0\n"


AdminClient: TypeAlias = "TestClient[web.Request, web.Application]"  # no generic at run time


@pytest.fixture
def instance() -> FakeInstance:
    return FakeInstance()


@pytest.fixture
async def client(instance: FakeInstance) -> AsyncIterator[AdminClient]:
    async with TestClient(TestServer(build_app(instance))) as made:
        yield made


async def test_healthz_is_ok_also_when_not_ready(client: AdminClient, instance: FakeInstance) -> None:
    instance.reasons = ["draining"]
    response = await client.get("/healthz")
    assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_readyz_is_200_when_nothing_speaks_against_it(client: AdminClient) -> None:
    response = await client.get("/readyz")
    assert (response.status, await response.json()) == (200, {"status": "ready"})


async def test_readyz_is_503_with_the_reasons(client: AdminClient, instance: FakeInstance) -> None:
    instance.reasons = ["draining", "worker 1 is starting"]
    response = await client.get("/readyz")
    assert response.status == 503
    assert await response.json() == {
        "status": "not ready",
        "reasons": ["draining", "worker 1 is starting"],
    }


async def test_metrics_are_in_prometheus_text_format(client: AdminClient) -> None:
    response = await client.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert await response.text() == "balancer_worker_up 1.0\n"


async def test_pools_show_their_upstreams(client: AdminClient) -> None:
    response = await client.get("/api/pools")
    body = await response.json()
    assert body["first_byte_bounds"] == list(BUCKETS)
    (pool,) = body["pools"]
    assert (pool["name"], pool["policy"]) == ("default", "least_connections")
    assert pool["upstreams"] == [
        {
            "id": "app1:8000",
            "address": "10.0.0.1:8000",
            "weight": 3,
            "inflight": 2,
            "idle_connections": 1,
            "requests": 5,
            "codes": {"200": 4, "503": 1},
            "first_byte_buckets": [1] * 15,
            "first_byte_sum": 0.25,
        }
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/pools/", 404), ("POST", "/readyz", 405), ("HEAD", "/healthz", 200)],
)
async def test_other_requests(client: AdminClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status == status
