"""A balancer that tests share, as its start takes longer than most of them."""

import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest_asyncio

from tests.fakes.instance import Balancer, running


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
