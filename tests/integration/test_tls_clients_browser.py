"""A real browser at a TLS listener. It trusts the authority; nothing else is made easier for it."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.browser import browser, opened, trusts
from tests.fakes.https import Authority, https

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PATIENCE = 60.0  # seconds: a browser takes its time to start
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module">
const echo = () => new Promise((resolve, reject) => {
  const socket = new WebSocket(`wss://${location.host}/echo`);
  socket.onopen = () => socket.send("hello");
  socket.onmessage = ({ data }) => { socket.close(); resolve(data); };
  socket.onerror = reject;
});
const large = await (await fetch("/large")).arrayBuffer();
const posted = await (await fetch("/length", { method: "POST", body: new Uint8Array(300_000) })).text();
const cut = await fetch("/cut").then((response) => response.text()).then(() => "whole", () => "broken");
const seen = { secure: isSecureContext, scheme: location.protocol, large: large.byteLength, posted, cut,
  echo: await echo(), by: performance.getEntriesByType("navigation")[0].nextHopProtocol };
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });
</script>"""


class App:
    """The page and what it asks for; `reports` are what it has posted."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.schemes: set[str | None] = set()

    async def start(self, stack: AsyncExitStack) -> str:
        """Its address."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/large", self._large),
                web.post("/length", self._length),
                web.get("/cut", self._cut),
                web.get("/echo", self._echo),
                web.post("/report", self._report),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    async def _page(self, request: web.Request) -> web.Response:
        self.schemes.add(request.headers.get("X-Forwarded-Proto"))
        return web.Response(text=PAGE, content_type="text/html")

    async def _large(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (2 << 20))

    async def _length(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def _report(self, request: web.Request) -> web.Response:
        self.reports.put_nowait(json.loads(await request.text()))
        return web.Response(status=204)


async def test_a_page_is_served_over_tls(tmp_path: Path) -> None:
    command, app, authority = browser(), App(), Authority(tmp_path)
    await trusts(tmp_path, authority.file)
    async with AsyncExitStack() as stack:
        address = await app.start(stack)
        site = await stack.enter_async_context(
            https(authority, authority.site("localhost"), UPSTREAMS=address, HEALTH_CHECK__ENABLED="false")
        )
        await stack.enter_async_context(opened(command, f"https://localhost:{site.port}/", tmp_path))
        async with asyncio.timeout(PATIENCE):
            seen = await app.reports.get()
    assert seen == {
        "secure": True,
        "scheme": "https:",
        "large": 2 << 20,
        "posted": "300000",
        "cut": "broken",
        "echo": "hello",
        "by": "http/1.1",
    }
    assert app.schemes == {"https"}
