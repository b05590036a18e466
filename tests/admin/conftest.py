"""The admin application of a fake instance, and a client of it."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from balancer.admin.app import build_app
from tests.admin.harness import AdminClient, FakeInstance


@pytest.fixture
def instance() -> FakeInstance:
    return FakeInstance()


@pytest.fixture
async def client(instance: FakeInstance) -> AsyncIterator[AdminClient]:
    async with TestClient(TestServer(build_app(instance))) as made:
        yield made
