"""The app for uvicorn (ASGI)."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """One request."""
    if scope["type"] != "http":
        return
    status, body = 200, b"ok"
    if scope["path"] == "/health" and os.path.exists(os.environ["LEAVING"]):  # noqa: ASYNC240 - it is fast
        status, body = 410, b"leaving"
    elif scope["path"].startswith("/r/"):
        body = scope["path"].removeprefix("/r/").encode()
        if scope["method"] == "POST":
            sent, more = b"", True
            while more:
                message = await receive()
                sent, more = sent + message.get("body", b""), message.get("more_body", False)
            status = 200 if sent.rstrip() == body else 422
        await asyncio.sleep(0.008)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
