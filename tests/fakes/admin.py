"""A scripted admin listener, for tests of commands that ask it."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

# Method, target and body, with the status and the answer.
Script: TypeAlias = Callable[[str, str, Any], tuple[int, Mapping[str, Any]]]


class FakeAdmin:
    """Where it listens, and what it was asked: method, target, body, and the name of the operator."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[tuple[str, str, Any, str | None]] = []


@contextmanager
def fake_admin(script: Script) -> Iterator[FakeAdmin]:
    """An admin listener on a free port that answers as `script` says."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = json.loads(body) if body else None
            admin.asked.append((self.command, self.path, given, self.headers.get("X-Operator")))
            status, answer = script(self.command, self.path, given)
            said = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        admin = FakeAdmin(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield admin
        finally:
            server.shutdown()
            thread.join()
