"""The admin listener as an upstream of its own balancer: requests and checks that return are refused."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from balancer.admin.app import build_app
from tests.admin.harness import AdminClient, FakeInstance

NAME = "balancer-0123abcd"


@pytest.fixture
async def client(instance: FakeInstance) -> AsyncIterator[AdminClient]:
    async with TestClient(TestServer(build_app(instance, via=NAME))) as made:
        yield made


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
@pytest.mark.parametrize("via", [f"1.1 {NAME}", f"1.1 cdn, 1.1 {NAME} (x)"])
async def test_requests_sent_by_this_balancer_are_refused(client: AdminClient, path: str, via: str) -> None:
    response = await client.get(path, headers={"Via": via})
    assert response.status == 508
    assert NAME in (await response.json())["error"]  # by which a check knows that it has returned


@pytest.mark.parametrize("via", ["1.1 balancer-89abcdef", f"1.1 cdn (1.1 {NAME})", "1.1 cdn", ""])
async def test_a_client_behind_another_proxy_is_answered(client: AdminClient, via: str) -> None:
    assert (await client.get("/healthz", headers={"Via": via})).status == 200


async def test_without_an_instance_name_loops_are_not_detected(instance: FakeInstance) -> None:
    async with TestClient(TestServer(build_app(instance))) as client:
        assert (await client.get("/healthz", headers={"Via": f"1.1 {NAME}"})).status == 200
