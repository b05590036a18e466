"""The app for gunicorn (WSGI)."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """One request."""
    path = environ["PATH_INFO"]
    status, body = "200 OK", b"ok"
    if path == "/health" and os.path.exists(os.environ["LEAVING"]):
        status, body = "410 Gone", b"leaving"
    elif path.startswith("/r/"):
        body = path.removeprefix("/r/").encode()
        if environ["REQUEST_METHOD"] == "POST":
            sent = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).rstrip()
            status = "200 OK" if sent == body else "422 Unprocessable Content"
        time.sleep(0.008)
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
