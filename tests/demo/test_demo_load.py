"""The demo's load: it keeps its connections, counts failures, and is bounded."""

import asyncio
from contextlib import suppress

from aiohttp import web
from aiohttp.test_utils import TestServer

from balancer.demo.load import CLIENTS, Load


class Counting:
    """An app whose first answer is a 500; `enough` is set after 2 * CLIENTS requests."""

    def __init__(self) -> None:
        self.peers: set[tuple[str, int]] = set()
        self.requests = 0
        self.enough = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.requests += 1
        if self.requests >= 2 * CLIENTS:
            self.enough.set()
        return web.Response(status=500 if self.requests == 1 else 200)


async def test_the_load_is_counted_on_few_connections() -> None:
    counting = Counting()
    app = web.Application()
    app.router.add_get("/", counting.answer)
    async with TestServer(app) as server, asyncio.timeout(15.0):
        load = Load(str(server.make_url("/")))
        task = asyncio.create_task(load.run())
        await counting.enough.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert load.failed == 1
    assert load.sent >= 2 * CLIENTS - CLIENTS  # cancelled requests are not counted
    assert len(counting.peers) <= CLIENTS
