"""A canary whose every response is an error does not hold, however it fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from tests.fakes.instance import get, running, until

pytestmark = pytest.mark.integration

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
OWN_CODE = b"HTTP/1.1 521 Web server is down\r\nContent-Length: 2\r\n\r\nno"
GATE = {"hold": 60, "abort_if": "errors>+0.5%"}


@asynccontextmanager
async def app(response: bytes) -> AsyncIterator[str]:
    """An app that answers each request so, and then closes. Yields its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


@pytest.mark.parametrize("response", [HALF, OWN_CODE], ids=["breaks off", "521"])
async def test_a_canary_that_only_fails_is_taken_back(response: bytes) -> None:
    async with app(WHOLE) as stable, app(response) as canary:
        settings = {
            "POOLS__STABLE__UPSTREAMS": stable,
            "POOLS__CANARY__UPSTREAMS": canary,
            "HEALTH_CHECK__ENABLED": "false",
            "OUTLIER__ENABLED": "false",
            "SPLIT__KEY": "query:user",
            "ROUTES": '[{"name": "web", "split": {"stable": 90, "canary": 10}}]',
        }
        async with running(**settings) as balancer, aiohttp.ClientSession() as session:
            await balancer.becomes_ready()
            url = f"http://127.0.0.1:{balancer.admin_port}/api/routes/web/split"
            async with session.patch(url, json={"weights": {"canary": 90}, "gate": GATE}) as answer:
                assert (await answer.json())["gate"]["number"] == 1
            ended: dict[str, object] = {}

            async def has_ended() -> bool:
                nonlocal ended
                for user in range(60):
                    with suppress(ConnectionError, asyncio.IncompleteReadError):
                        await get(balancer.port, f"/?user={user}")
                async with session.get(url) as answer:
                    ended = await answer.json()
                return ended["gate"] is None

            await until(has_ended)
            assert ended["weights"] == {"stable": 90, "canary": 10}
            assert ended["last_gate"]["result"] == "breached"  # type: ignore[index]
            routes = f"http://127.0.0.1:{balancer.admin_port}/api/routes"
            async with session.get(routes) as answer:
                sides = (await answer.json())["routes"][0]["sides"]
            found = [side["broken_off"] + side["codes"].get("5xx", 0) for side in sides]
            assert found == [0, sides[1]["requests"]]
