"""The app replica behind a balancer that is changed: numbered requests, WebSockets and long bodies.

    python -m loadtests.live.replica HOST PORT

`/r/N` answers N to a GET, and to a POST whose body begins with N; 422 to a POST with any other body. `/ws`
sends every message back. `/download/PIECES` is that many pieces (`loadtests.live.download`).
"""

import asyncio
import sys

from aiohttp import WSMsgType, web

from loadtests.live.download import PIECE, piece
from loadtests.stage import READY

SERVICE_TIME = 0.008  # seconds
BODY_BYTES = 100
IDLE = 3600.0  # seconds; the balancer closes idle connections, not this app
BACKLOG = 4096


async def _ok(_: web.Request) -> web.Response:
    return web.Response(body=b"ok")


async def _numbered(request: web.Request) -> web.Response:
    number = request.match_info["number"].encode()
    if request.method == "POST" and (await request.read()).rstrip() != number:
        return web.Response(status=422, text="this is the body of another request")
    await asyncio.sleep(SERVICE_TIME)
    return web.Response(body=number.ljust(BODY_BYTES))


async def _echo(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
    return websocket


async def _download(request: web.Request) -> web.StreamResponse:
    pieces = int(request.match_info["pieces"])
    response = web.StreamResponse()
    response.content_length = pieces * PIECE
    await response.prepare(request)
    for number in range(pieces):
        await response.write(piece(number))
    await response.write_eof()
    return response


async def _serve(host: str, port: int) -> None:
    application = web.Application()
    application.add_routes(
        [
            web.get("/", _ok),
            web.get("/health", _ok),
            web.route("*", "/r/{number}", _numbered),
            web.get("/ws", _echo),
            web.get("/download/{pieces}", _download),
        ]
    )
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=IDLE, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    print(f"{READY}{host}:{port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """The process."""
    host, port = sys.argv[1:]
    asyncio.run(_serve(host, int(port)))


if __name__ == "__main__":
    main()
