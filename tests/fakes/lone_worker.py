"""An app with a single worker, gunicorn's default: one request at a time, and all others, checks included,
wait in its backlog. In its own process, which can be stopped.

    python -m tests.fakes.lone_worker NAME RELEASE

It prints its port. `/hold` is answered when the file RELEASE exists; on `/drop` it closes the connection.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

from tests.fakes.forkserver import start

PATIENCE = 20.0  # seconds after which a test has failed
_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class LoneWorker:
    """A running app."""

    name: str
    pid: int
    address: str  # in the form of UPSTREAMS
    file: Path

    def release(self) -> None:
        """Answer the held requests."""
        self.file.touch()


@asynccontextmanager
async def lone_worker(name: str, directory: Path) -> AsyncIterator[LoneWorker]:
    """An app on a free port of 127.0.0.1; killed when the test ends."""
    file = directory / name
    process = await start("tests.fakes.lone_worker", name, str(file), environ=dict(os.environ))
    try:
        async with asyncio.timeout(PATIENCE):
            port = int(await process.stdout.readline())
        yield LoneWorker(name, process.pid, f"127.0.0.1:{port}", file)
    finally:
        process.kill()
        await process.wait()


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: a kept connection would occupy the worker."""

    name: ClassVar[str]
    file: ClassVar[Path]

    def do_GET(self) -> None:
        if self.path == "/drop":
            return
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        while self.path == "/hold" and not self.file.exists():
            time.sleep(_LOOK)
        body = self.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # named by http.server

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def main(name: str, file: str) -> None:
    """Serve until killed."""
    _Handler.name, _Handler.file = name, Path(file)
    HTTPServer.request_queue_size = 256
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
