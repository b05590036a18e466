"""The dashboard in a browser: of a real balancer, or of an overview that a test has written."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from balancer.admin import pages
from tests.fakes.instance import Balancer
from tests.fakes.page import Browser, Page

ROW = 'tr[role="row"]:has([aria-label$=" {id}"])'  # of an upstream
SHOWN = "performance.getEntriesByName('update').length"


@asynccontextmanager
async def dashboard(browser: Browser, balancer: Balancer, **looks: Any) -> AsyncIterator[Page]:
    """That of a balancer; `looks` are those of the window. Ends with an error if the page had problems."""
    async with browser.page(**looks) as page:
        await page.open(f"http://127.0.0.1:{balancer.admin_port}/")
        await page.until(SHOWN)
        yield page
        assert page.problems == []


def row(id: str) -> str:
    """The selector of the row of an upstream."""
    return ROW.format(id=id)


def button(label: str) -> str:
    """The selector of a button by its name."""
    return f'button[aria-label="{label}"]'


async def overview(balancer: Balancer) -> Any:
    """What the page is told."""
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://127.0.0.1:{balancer.admin_port}/api/overview")
        return await answer.json()


class Shown:
    """A server of the pages that pushes the overview of a test; `push` sends a patch of it. It may refuse
    streams."""

    def __init__(self, overview: Mapping[str, Any], history: Mapping[str, Any] | None = None) -> None:
        self.overview = dict(overview)
        self.history = history or _no_history()
        self.url = ""
        self.refuses = False
        self._streams: set[asyncio.Queue[bytes]] = set()

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Shown"]:
        app = web.Application()
        app.add_routes(
            [
                *pages.ROUTES,
                web.get("/", self._page),
                web.get("/api/stream", self._stream),
                web.get("/api/overview", self._overview),
                web.get("/api/history", self._history),
            ]
        )
        async with TestServer(app, shutdown_timeout=0.1) as server:
            self.url = str(server.make_url("/"))
            try:
                yield self
            finally:
                for stream in self._streams:
                    stream.put_nowait(b"")

    def push(self, patch: Mapping[str, Any]) -> None:
        """Send a merge patch to all pages."""
        for stream in self._streams:
            stream.put_nowait(_event("patch", patch))

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return pages.page(request, "dashboard.html")

    async def _overview(self, request: web.Request) -> web.Response:
        return web.json_response(self.overview)

    async def _history(self, request: web.Request) -> web.Response:
        return web.json_response(self.history)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams.add(frames)
        try:
            frame = _event("overview", self.overview)
            while frame:
                await response.write(frame)
                frame = await frames.get()
        finally:
            self._streams.discard(frames)
        return response


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _no_history() -> dict[str, Any]:
    steps = {"fine": {"step": 1, "length": 120}, "coarse": {"step": 10, "length": 180}}
    return {"now": 1_770_000_000.0, **steps, "series": {}, "states": {}}
