"""A balancer and a browser that tests share, as their start takes longer than most tests."""

import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.fakes.browser import browser
from tests.fakes.instance import Balancer, running
from tests.fakes.page import Browser, driven


class Stage(NamedTuple):
    """A balancer, and the listening socket of its app, at which each test accepts what it causes."""

    balancer: Balancer
    listening: socket.socket

    @property
    def app_port(self) -> int:
        return int(self.listening.getsockname()[1])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """For tests in the loop of the session. No connection to the app outlasts its request, so none reaches
    the next test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        async with running(
            UPSTREAMS=f"127.0.0.1:{listening.getsockname()[1]}",
            HEALTH_CHECK__ENABLED="false",
            KEEPALIVE__MAX_IDLE="0",
            RETRY__STATUSES="",
        ) as balancer:
            yield Stage(balancer, listening)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser without a window, for tests in the loop of the session, each with a page of its own."""
    async with driven(browser(), tmp_path_factory.mktemp("chromium")) as one:
        yield one
