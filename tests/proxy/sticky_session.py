"""Shared by the tests of sticky sessions: a client with cookies, and which upstream serves it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

from balancer.telemetry.columns import POOL_STICKY, POOL_STICKY_DIVERTED, STICKY_RESULTS
from tests.fakes.transport import CLIENT_ADDRESS, FakeTransport
from tests.fakes.wire import upstream_message
from tests.proxy.harness import OK, Harness, head_of

OWN: dict[str, Any] = {
    "cookie": "pin",
    "secret": "",
    "max_age": 0,
    "secure": False,
    "http_only": True,
    "same_site": "lax",
    "path": "/",
    "domain": "",
    "app_cookie": "",
}
APP = {**OWN, "app_cookie": "SID"}


class Session:
    """One client connection whose cookies are the test's; `tokens` by the number of the upstream."""

    def __init__(self, harness: Harness, address: str = CLIENT_ADDRESS) -> None:
        self.harness = harness
        self.client = harness.client(address)

    def ask(self, cookie: bytes = b"", *, method: bytes = b"GET", response: bytes = OK) -> bytes:
        """One exchange; returns the response. `cookie` is the whole Cookie value."""
        self.send(cookie, method=method)
        self.serving.receive(response)
        self.harness.settle()
        return self.client.take()

    def send(self, cookie: bytes = b"", *, method: bytes = b"GET", more: bytes = b"") -> None:
        line = b"Cookie: %b\r\n" % cookie if cookie else b""
        self.client.receive(method + b" / HTTP/1.1\r\nHost: a\r\n" + line + more + b"\r\n")
        self.harness.settle()

    @property
    def serving(self) -> FakeTransport:
        """The upstream connection that has the request."""
        (transport,) = [t for t in self.harness.loop.transports if t.protocol.reader is not None]  # type: ignore[attr-defined]
        return transport

    @property
    def server(self) -> int:
        """The number of the upstream that has the request."""
        return int(self.serving.protocol.upstream.id[3])  # type: ignore[attr-defined]


def given(response: bytes) -> list[bytes]:
    """The Set-Cookie lines of a response."""
    return [line for line in head_of(response) if line.startswith(b"Set-Cookie: ")]


def token_in(response: bytes) -> bytes:
    (line,) = given(response)
    assert line.startswith(b"Set-Cookie: pin=")
    return line[16:].partition(b";")[0]


def counted(harness: Harness) -> dict[str, int]:
    """Result -> how often, without zeros."""
    cells = harness.pool.cells
    return {result: n for i, result in enumerate(STICKY_RESULTS) if (n := cells[POOL_STICKY + i])}


def tokens(harness: Harness, count: int) -> list[bytes]:
    """The tokens of the upstreams in order, as successive clients get them."""
    session = Session(harness)
    found: dict[int, bytes] = {}
    for _ in range(count):
        session.send()
        number = session.server
        session.serving.receive(OK)
        harness.settle()
        found[number] = token_in(session.client.take())
    forget(harness)
    for transport in harness.loop.transports:
        transport.take()
    return [found[number] for number in sorted(found)]


def forget(harness: Harness) -> None:
    """Count from 0 again."""
    for column in range(POOL_STICKY, POOL_STICKY_DIVERTED + 1):
        harness.pool.cells[column] = 0


def states(harness: Harness, changes: dict[int, Any], count: int = 3) -> None:
    """The supervisor sends upstreams 1 to `count`, some of them changed; those with None are removed."""
    harness.tell(
        *(
            upstream_message(n, **changes.get(n, {}))
            for n in range(1, count + 1)
            if changes.get(n, {}) is not None
        )
    )
