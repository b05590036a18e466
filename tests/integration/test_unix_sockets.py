"""Upstreams on unix sockets: requests, checks, and what the kernel says when nobody is there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.fakes.app_replica import AppReplica
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration


@asynccontextmanager
async def listening(path: Path, name: str = "app") -> AsyncIterator[AppReplica]:
    app = AppReplica(name)
    server = await asyncio.start_unix_server(app.serve, path)
    try:
        yield app
    finally:
        app.release.set()
        server.close()


async def upstream(balancer: Balancer) -> dict[str, Any]:
    (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
    found: dict[str, Any] = pool["upstreams"][0]
    return found


async def test_requests_and_checks_go_through_the_socket() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "app.sock"
        async with listening(path) as app, running(UPSTREAMS=f"unix:{path}") as balancer:
            await balancer.becomes_ready()
            answers = [await get(balancer.port) for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 200]
            assert app.requests == 3
            assert app.checks > 0
            shown = await upstream(balancer)
            assert (shown["id"], shown["address"]) == (f"unix:{path}", f"unix:{path}")
            assert shown["last_check"]["passed"]
            series = f'balancer_upstream_requests_total{{code="200",pool="default",upstream="unix:{path}"}}'

            async def is_counted() -> bool:
                return await balancer.metric(series) == 3

            await until(is_counted)


async def test_an_app_that_restarts_on_its_socket_is_found_again() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "app.sock"
        settings = {"UPSTREAMS": f"unix:{path}", "HEALTH_CHECK__INTERVAL": "100ms"}
        async with running(**settings) as balancer:
            async with listening(path):
                await balancer.becomes_ready()
                assert (await get(balancer.port)).status == 200
            path.unlink()

            async def is_out() -> bool:
                return bool((await upstream(balancer))["causes"])

            await until(is_out)
            async with listening(path):

                async def is_back() -> bool:
                    return not (await upstream(balancer))["causes"]

                await until(is_back)
                assert (await get(balancer.port)).status == 200


def _nobody(path: Path) -> None:
    """A socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _forbidden(path: Path) -> None:
    """A path on which a socket cannot be: a file stands in the place of the directory."""
    path.parent.rmdir()
    path.parent.write_text("")


def _full(path: Path) -> socket.socket:
    """A listener whose backlog is full."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(0)
    clients = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        clients.append(client)
        try:
            client.connect(str(path))
        except BlockingIOError:
            break
    _held.extend([server, *clients])
    return server


_held: list[socket.socket] = []
CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no file": (lambda path: None, "connect_failed", "is the app running"),
    "no listener": (_nobody, "connect_refused", "the app that made the socket is gone"),
    "no directory": (_forbidden, "connect_failed", "(not a directory): correct the path"),
    "a full backlog": (_full, "connect_failed", "the app's backlog is full"),
}


@pytest.mark.parametrize("kind", CASES)
async def test_a_failed_connect_says_what_to_do(kind: str) -> None:
    prepare, reason, hint = CASES[kind]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "run" / "app.sock"
        path.parent.mkdir()
        prepare(path)
        async with running(UPSTREAMS=f"unix:{path}", RETRY__MAX_ATTEMPTS="1") as balancer:

            async def is_checked() -> bool:
                return (await upstream(balancer))["last_check"] is not None

            await until(is_checked)
            answer = await get(balancer.port)
            assert answer.status in (502, 503)
            failures = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
            check = (await upstream(balancer))["last_check"]
            assert not check["passed"]
            said = check["hint"].lower()
            assert [one for _, _, one in CASES.values() if one in said] == [hint]
            assert "access" not in said
            assert all(failure["attempts"][0]["failure"] == reason for failure in failures)
    while _held:
        _held.pop().close()
