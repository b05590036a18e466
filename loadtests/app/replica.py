"""The app replica's application: a small shop; every request passes through the switches first."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from aiohttp import web

from balancer.demo.replica import Replica as DemoReplica
from loadtests.app.errors import SwitchError
from loadtests.app.sessions import COOKIE, Sessions
from loadtests.app.switches import CONTROL_PATH, Mode, Switches

CHECK_PATH = "/healthz"
MOST_BYTES = 1 << 30  # of one download
CHUNK = bytes(65536)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sleep = Callable[[float], Awaitable[None]]


def burn(seconds: float, cpu_clock: Callable[[], float] = time.thread_time) -> None:
    """Use this much CPU time and block the event loop with it, as an app's Python code would."""
    end = cpu_clock() + seconds
    while cpu_clock() < end:
        pass


class Replica:
    """One app replica. While `starting` is true, until the caller clears it, every request gets a 503."""

    def __init__(self, name: str, switches: Switches, rng: Random, sleep: Sleep = asyncio.sleep) -> None:
        self.starting = False
        self._name = name
        self._switches = switches
        self._random = rng
        self._sleep = sleep
        self._sessions = Sessions(rng)
        self._switched = asyncio.Event()  # set and replaced at every change of the switches
        self._inflight = 0
        self._served = 0

    def application(self) -> web.Application:
        """The aiohttp application, ready to be served. Other paths than the shop's are those of the demo."""
        demo = DemoReplica(self._name, 0.0, self._random)

        @web.middleware  # it marks a function; a method cannot be marked
        async def switches_first(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._with_trouble(request, handler)

        app = web.Application(middlewares=[switches_first])
        app.on_response_prepare.append(demo.sign)
        app.add_routes(
            [
                web.get(CONTROL_PATH, self._show),
                web.post(CONTROL_PATH, self._control),
                web.get(CHECK_PATH, self._check),
                web.get("/items/{number}", self._item),
                web.post("/orders", self._order),
                web.get("/download", self._download),
                web.route("*", "/login", self._login),
                web.get("/session", self._session),
                web.get("/ws", demo.echo),
                web.get("/stream", demo.stream),
                web.route("*", "/{path:.*}", demo.answer),
            ]
        )
        return app

    async def _with_trouble(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Apply the switches to a request, before or instead of its handler."""
        if request.path == CONTROL_PATH:
            return await handler(request)
        if self.starting:
            return self._answer({"error": "starting"}, 503)
        if request.path == CHECK_PATH:
            if self._switches.check_status:
                return self._answer({"error": "as switched"}, self._switches.check_status)
            return await self._trouble() or await handler(request)
        self._inflight += 1
        try:
            return await self._trouble() or await self._work() or await handler(request)
        finally:
            self._inflight -= 1
            self._served += 1

    async def _trouble(self) -> web.Response | None:
        """Wait while the mode is hanging; the response if it is failing."""
        while self._switches.mode is Mode.HANGING:
            await self._switched.wait()
        if self._switches.mode is Mode.FAILING:
            return self._answer({"error": "failing, by its switch"}, 500)
        return None

    async def _work(self) -> web.Response | None:
        """Take the time of one request; the response if it fails."""
        delay = self._switches.service_time.draw(self._random)
        if delay:
            await self._sleep(delay)
        burn(self._switches.cpu)
        if self._random.random() < self._switches.error_rate:
            return self._answer({"error": "failed at random"}, 500)
        return None

    async def _show(self, request: web.Request) -> web.Response:
        state = {"switches": self._switches.as_json(), "inflight": self._inflight, "served": self._served}
        return self._answer({**state, "sessions": len(self._sessions)})

    async def _control(self, request: web.Request) -> web.Response:
        """Apply `{"mode": "failing"}` and the like; other switches stay as they are."""
        try:
            changes: Any = json.loads(await request.text())
            if not isinstance(changes, dict):
                raise SwitchError('the body is not a JSON object, such as {"mode": "failing"}')
            self._switches = self._switches.changed(changes)
        except SwitchError as error:
            return self._answer({"error": str(error)}, 400)
        except ValueError as error:
            return self._answer({"error": f"the body is not JSON: {error}"}, 400)
        self._switched.set()
        self._switched = asyncio.Event()
        return await self._show(request)

    async def _check(self, request: web.Request) -> web.Response:
        return self._answer({"status": "ok"})

    async def _item(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        if not number.isdecimal():
            return self._answer({"error": f"there is no item {number}"}, 404)
        return self._answer({"item": int(number[:18]), "price": len(number) * 100})

    async def _order(self, request: web.Request) -> web.Response:
        received = 0
        async for chunk in request.content.iter_chunked(len(CHUNK)):
            received += len(chunk)
        return self._answer({"ordered": True, "received": received}, 201)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        text = request.query.get("bytes", "")
        size = int(text) if text.isdecimal() and len(text) <= 10 else -1
        if not 0 <= size <= MOST_BYTES:
            return self._answer({"error": f"bytes={text}: it is not a number up to {MOST_BYTES}"}, 400)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = size
        await response.prepare(request)
        for _ in range(size // len(CHUNK)):
            await response.write(CHUNK)
        await response.write(CHUNK[: size % len(CHUNK)])
        await response.write_eof()
        return response

    async def _login(self, request: web.Request) -> web.Response:
        session = self._sessions.open()
        response = self._answer({"session": session, "owner": self._name})
        response.set_cookie(COOKIE, session, httponly=True, samesite="Lax")
        return response

    async def _session(self, request: web.Request) -> web.Response:
        session = request.cookies.get(COOKIE, "")
        visits = self._sessions.visit(session)
        if visits is None:
            return self._answer({"error": "this replica does not know the session"}, 401)
        return self._answer({"session": session, "owner": self._name, "visits": visits})

    def _answer(self, body: dict[str, Any], status: int = 200) -> web.Response:
        return web.json_response({"replica": self._name, **body}, status=status)
