"""The corpus of targets through a whole balancer, in front of servers that read paths in their own ways.

An app never sees a path that, as it reads it, belongs to another route than the one by which it came.
"""

import asyncio
import http.client
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.readings import taken_for
from tests.corpus.targets import PREFIXES, REFUSED, STRIPPED, TARGETS, Target, route_of
from tests.fakes.instance import running
from tests.fakes.readers.servers import SERVERS, server

pytestmark = pytest.mark.integration

HOST = "shop.example"
ROUTE = "X-Route"
TIMES = 2  # on one connection: a repeated head takes another way through the balancer


@dataclass(frozen=True)
class Sight:
    """The route by which a response came, REFUSED if none; the path that the app saw, None if it refused."""

    route: str
    path: bytes | None


class Client:
    """Sends targets as they are, on one connection for as long as it lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, target: bytes) -> Sight:
        one = self._socket or socket.create_connection(("127.0.0.1", self._port), timeout=20.0)
        self._socket = one
        one.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, HOST.encode()))
        response = http.client.HTTPResponse(one)
        response.begin()
        body, status = response.read(), response.status
        if response.will_close:
            self.close()
        route = response.getheader(ROUTE)
        if route is None:
            assert status == 400, f"{target!r} got {status}: {body!r}"
            return Sight(REFUSED, None)
        return Sight(route, body if status == 200 else None)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def routes() -> list[dict[str, Any]]:
    """A route to each pool, which tells by which one a response came."""
    return [
        {
            "name": name,
            "match": {"path_prefix": prefix.decode()},
            "pool": name,
            "strip_prefix": name == STRIPPED,
            "response_headers": {"set": {ROUTE: name}},
        }
        for name, prefix in PREFIXES.items()
    ]


def asked(port: int) -> Iterator[tuple[Target, Sight]]:
    client = Client(port)
    try:
        for target in TARGETS:
            for _ in range(TIMES):
                yield target, client.ask(target.sent_to(HOST))
    finally:
        client.close()


def faults(kind: str, target: Target, sight: Sight) -> Iterator[str]:
    """What is wrong, one sentence each."""
    if sight.route != target.route:
        yield f"{target.text} came by {sight.route}, not by {target.route}"
    if sight.route == REFUSED:
        return
    model = SERVERS[kind](target.forwarded_for(HOST))
    if sight.path != model:
        yield f"{target.text} is {sight.path!r} to {kind}; its model says {model!r}"
    if sight.path is None:
        return
    above = PREFIXES[STRIPPED] if sight.route == STRIPPED else b""
    for path in taken_for(sight.path):
        if route_of(above + path) != sight.route:
            yield f"{target.text} came by {sight.route}, and is {path!r} to an app on {kind}"


@pytest.mark.parametrize("kind", SERVERS)
async def test_no_app_sees_the_path_of_another_route(kind: str, tmp_path: Path) -> None:
    if kind == "nginx" and shutil.which("nginx") is None:
        if os.environ.get("REQUIRE_ALL_TESTS") == "1":
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed: on Debian, apt-get install nginx-light")
    with server(kind, tmp_path) as port:
        pools = {f"POOLS__{name.upper()}__UPSTREAMS": f"127.0.0.1:{port}" for name in PREFIXES}
        async with running(ROUTES=json.dumps(routes()), **pools) as balancer:
            found = await asyncio.to_thread(lambda: list(asked(balancer.port)))
    assert [fault for target, sight in found for fault in faults(kind, target, sight)] == []
    assert {sight.route for _, sight in found} == {*PREFIXES, REFUSED}
