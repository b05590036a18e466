"""A real browser in front of a balancer: a fetch that streams, EventSource, WebSocket, and a drain."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from tests.fakes.browser import browser, opened
from tests.fakes.instance import running

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PAGE = Path(__file__).with_name("browser.html")
PATIENCE = 60.0  # seconds: a browser takes its time to start
TOKENS = [f"token {number} " for number in range(1, 6)]


class App:
    """Two replicas: they share what they know, as by a database. `seen` are the names of those that were
    asked, `reports` what the page has posted."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.closes: list[int | None] = []
        self._acked: asyncio.Queue[int] = asyncio.Queue()

    @asynccontextmanager
    async def replica(self, name: str) -> AsyncIterator[str]:
        """Its address."""

        @web.middleware
        async def note(request: web.Request, handler: Any) -> web.StreamResponse:
            self.seen.add(name)
            response: web.StreamResponse = await handler(request)
            return response

        app = web.Application(middlewares=[note])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/stream", self._stream),
                web.post("/ack/{number}", self._ack),
                web.get("/events", self._events),
                web.get("/echo", self._echo),
                web.get("/close", self._close),
                web.get("/refuse", self._refuse),
                web.post("/report", self._report),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        for number, token in enumerate(TOKENS, 1):
            await response.write(token.encode())
            assert await self._acked.get() == number
        return response

    async def _ack(self, request: web.Request) -> web.Response:
        self._acked.put_nowait(int(request.match_info["number"]))
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "0")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"retry: 20\nid: {int(last) + 1}\ndata: after {last}\n\n".encode())
        return response

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v1",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        self.closes.append(socket.close_code)
        return socket

    async def _close(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v1",))
        await socket.prepare(request)
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"not today")
        return socket

    async def _refuse(self, request: web.Request) -> web.Response:
        return web.Response(status=403, text="not you\n")

    async def _report(self, request: web.Request) -> web.Response:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)


async def test_a_page_gets_streams_events_and_websockets_as_from_its_app(tmp_path: Path) -> None:
    command, app = browser(), App()
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(app.replica(name)) for name in ("one", "two")]
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=",".join(replicas), TIMEOUTS__TUNNEL_DRAIN="0", HEALTH_CHECK__ENABLED="false")
        )
        url = f"http://127.0.0.1:{balancer.port}/?app={replicas[0]}"
        await stack.enter_async_context(opened(command, url, tmp_path))
        async with asyncio.timeout(PATIENCE):
            report = await app.reports.get()
            assert report == {
                "stream": {"type": "text/plain; charset=utf-8", "tokens": TOKENS},
                "events": [["1", "after 0"], ["2", "after 1"], ["3", "after 2"]],
                "echoes": {
                    "messages": ["Füße", [0, 255, 7], 100_000],
                    "protocol": "v1",
                    "extensions": "permessage-deflate",
                    "end": {"code": 1000, "reason": "", "wasClean": True},  # aiohttp answers so
                },
                "closed": {"code": 1008, "reason": "not today", "wasClean": True},
                "refused": "refused",
            }
            assert app.closes == [3001]
            assert app.seen == {"one", "two"}
            balancer.signal(signal.SIGTERM)
            assert await app.reports.get() == {"code": 1012, "reason": "", "wasClean": True}
            assert await balancer.exit_code() == 0
        assert app.closes == [3001, 1012]
