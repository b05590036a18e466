"""`/api/overview`, `/api/stream` and `/api/history` (L6): what the dashboard shows, for it and for
programs."""

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import web

from balancer.admin.answers import BadRequestError, Query, answer, error
from balancer.admin.guard import leave_to_change
from balancer.admin.keys import INSTANCE
from balancer.overview.stream import MOST_LISTENERS

STALL: Final = 10.0  # seconds in which a reader must take a frame
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


async def show_overview(request: web.Request) -> web.Response:
    """All of it, as of now."""
    Query(request)
    return answer(await request.app[INSTANCE].overviews.now(leave_to_change(request)))


async def show_history(request: web.Request) -> web.Response:
    """The last thirty minutes, of everything or of `?only=route:NAME` or `pool:NAME`."""
    only = Query(request, "only").text("only")
    if only is not None and only.partition(":")[0] not in ("route", "pool"):
        raise BadRequestError(f"only={only} is not known; write route:NAME or pool:NAME")
    return answer(await request.app[INSTANCE].overviews.history(only))


async def stream(request: web.Request) -> web.StreamResponse:
    """Server-sent events: `overview` is the whole, at once and after a gap; `patch`, each second, a merge
    patch of it (RFC 7396)."""
    Query(request)
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    overviews = request.app[INSTANCE].overviews
    listener = await overviews.listen(leave_to_change(request))
    if listener is None:
        return error(f"{MOST_LISTENERS} streams are open, which is the limit; ask again later", 503)
    try:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        # A reader that is gone, or takes nothing for too long: its connection is closed, and it may come
        # again.
        with suppress(TimeoutError, ConnectionError):
            while frame := await listener.frame():
                async with asyncio.timeout(STALL):
                    await response.write(frame)
        return response
    finally:
        overviews.leave(listener)
