"""One app replica of the demo, a separate process: `python -m balancer.demo.replica NAME DELAY FD` (L7).

It serves the inherited listening socket FD, and ends on TERM or at EOF of its standard input: so it never
outlives the demo, however that ended.
"""

import asyncio
import json
import signal
import socket
import sys
from random import Random

from aiohttp import WSMsgType, web

NAME_HEADER = "X-Replica"
STREAM_CHUNKS = 10
STREAM_INTERVAL = 0.1  # seconds


class Replica:
    """The application: JSON with the replica's name on every path, `/stream` in pieces, `/ws` as an echo.

    `delay` is the service time in seconds, plus or minus a fifth. After a POST to `/ill` every answer is 500,
    until a POST to `/well`.
    """

    def __init__(self, name: str, delay: float, rng: Random) -> None:
        self._name = name
        self._delay = delay
        self._random = rng
        self._ill = False

    def application(self) -> web.Application:
        """The aiohttp application, ready to serve."""
        app = web.Application()
        app.on_response_prepare.append(self.sign)
        app.router.add_get("/ws", self.echo)
        app.router.add_get("/stream", self.stream)
        app.router.add_post("/ill", self.fall_ill)
        app.router.add_post("/well", self.get_well)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def sign(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the replica's name to the response's head."""
        response.headers[NAME_HEADER] = self._name

    async def answer(self, request: web.Request) -> web.Response:
        """Answer after the service time, with the replica's name and the request."""
        received = 0
        async for chunk in request.content.iter_chunked(65536):
            received += len(chunk)
        await asyncio.sleep(self._delay * self._random.uniform(0.8, 1.2))
        answer = {"replica": self._name, "method": request.method, "path": request.path, "received": received}
        return web.json_response(answer, status=500 if self._ill else 200)

    async def fall_ill(self, request: web.Request) -> web.Response:
        """Answer every request with 500 from now on."""
        self._ill = True
        return web.json_response({"replica": self._name, "now": "ill"})

    async def get_well(self, request: web.Request) -> web.Response:
        """Serve normally again."""
        self._ill = False
        return web.json_response({"replica": self._name, "now": "well"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send STREAM_CHUNKS lines, one every STREAM_INTERVAL."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for number in range(1, STREAM_CHUNKS + 1):
            line = {"replica": self._name, "chunk": number, "of": STREAM_CHUNKS}
            await response.write(json.dumps(line).encode() + b"\n")
            await asyncio.sleep(STREAM_INTERVAL)
        await response.write_eof()
        return response

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Echo WebSocket messages, texts with the replica's name."""
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(f"{self._name}: {message.data}")
            elif message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
        return websocket


async def serve(replica: Replica, listener: socket.socket, stdin: int) -> None:
    """Serve until TERM, or until `stdin` is readable: its EOF."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(stdin, stop.set)
    runner = web.AppRunner(replica.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        await stop.wait()
    finally:
        loop.remove_reader(stdin)
        await runner.cleanup()


def main(argv: list[str]) -> int:
    """Run the process; the arguments are NAME, DELAY in seconds, FD of the listening socket."""
    name, delay, descriptor = argv
    listener = socket.socket(fileno=int(descriptor))
    asyncio.run(serve(Replica(name, float(delay), Random()), listener, sys.stdin.fileno()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
