"""A proxy as one writes it in an afternoon, for scale in `make bench`: aiohttp on both sides, round robin.

    python -m loadtests.naive [--log=FILE] PORT UPSTREAM ...

Ports of 127.0.0.1. No checks, no retries, no limits, no timeouts.
"""

import argparse
import itertools
import time
from collections.abc import AsyncIterator, Mapping

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade")


class Naive:
    """The handler of all requests."""

    def __init__(self, upstreams: list[int], log: str | None) -> None:
        self._upstreams = itertools.cycle(upstreams)
        self._log = open(log, "a", buffering=1) if log else None  # noqa: SIM115  # for the life of the process

    async def session(self, app: web.Application) -> AsyncIterator[None]:
        """One client session for the life of the server."""
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        yield
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        begin = time.monotonic()
        response = await self._forward(request)
        if self._log is not None:
            words = request.remote, request.method, request.raw_path, response.status
            print(*words, f"{time.monotonic() - begin:.6f}", file=self._log)
        return response

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = _end_to_end(request.headers)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["Via"] = "1.1 naive"
        url = f"http://127.0.0.1:{next(self._upstreams)}{request.raw_path}"
        body = request.content if request.can_read_body else None
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _end_to_end(headers: Mapping[str, str]) -> "CIMultiDict[str]":
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.naive")
    parser.add_argument("--log")
    parser.add_argument("port", type=int)
    parser.add_argument("upstreams", type=int, nargs="+")
    options = parser.parse_args()
    proxy = Naive(options.upstreams, options.log)
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(proxy.session)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
