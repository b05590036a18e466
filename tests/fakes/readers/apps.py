"""The apps, for a server of each kind; as a program, the ones on aiohttp and wsgiref.

python -m tests.fakes.readers.apps aiohttp|wsgiref PORT
"""

import sys
from collections.abc import Awaitable, Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from aiohttp import web

Send = Callable[[dict[str, Any]], Awaitable[None]]


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """PATH_INFO, which is decoded, each byte a character."""
    body = str(environ["PATH_INFO"]).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """scope["path"], which is decoded."""
    body = str(scope["path"]).encode("utf-8", "surrogateescape")
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def on_aiohttp(request: web.BaseRequest) -> web.Response:
    """request.path, which is decoded."""
    return web.Response(body=request.path.encode("utf-8", "surrogateescape"))


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


async def _on_aiohttp(port: int) -> None:
    runner = web.ServerRunner(web.Server(on_aiohttp))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    import asyncio

    if sys.argv[1] == "aiohttp":
        asyncio.run(_on_aiohttp(int(sys.argv[2])))
    else:
        server = _Threads(("127.0.0.1", int(sys.argv[2])), _Quiet)
        server.set_app(wsgi)
        server.serve_forever()
