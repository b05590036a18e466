"""Responses of a hostile app to a check are bounded in size and time, and each fault has a name."""

import asyncio
import gzip
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeAlias

import pytest
import uvloop

from balancer.clock import SystemClock
from balancer.health.active import ActiveChecks
from balancer.health.answer import READ_LIMIT
from balancer.health.probe import Probes
from balancer.health.result import CheckResult, Reply, Result
from balancer.spec.part import replaced
from loadtests.checks_cost import NoSink, Upstream
from tests.health.flood import CHUNKED, HINT, Flood
from tests.health.harness import SETTINGS, FakeUpstream

PATIENCE = 20.0  # seconds after which a test has failed
UPSTREAMS = 4
MOST_TURN = 0.1  # CPU seconds in one turn of the loop: ten times as much as it takes
# What the kernels and event loops of both sides hold: all that may be sent without being read.
BUFFERS = 12 << 20

pytestmark = pytest.mark.integration

on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]

_OK = b"HTTP/1.1 200 OK\r\n"
_FAT_HINT = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 200 + b"\r\n"
_BOMB = gzip.compress(bytes(30 << 20))

# The first bytes, and what follows endlessly; changed settings; result; a part of the detail.
FLOODS: dict[str, tuple[bytes, bytes, dict[str, object], Result, str]] = {
    "informational responses": (b"", HINT, {}, Result.TOO_MUCH, "more than 100 informational responses"),
    "large informational responses": (b"", _FAT_HINT, {}, Result.TOO_MUCH, ("128 KiB came without a "
        "final response")),
    "header fields": (_OK, b"A: b\r\n", {}, Result.TOO_MUCH, "came without a final response"),
    "one field": (_OK + b"A: ", b"b", {}, Result.TOO_MUCH, "more than 65536 bytes of head came"),
    "fields that are not exact": (
        b"HTTP/1.2 200 OK\n", b"A : b\n", {}, Result.TOO_MUCH, "came without a final response"
    ),
    "a status line": (b"HTTP/1.1 200 ", b"x", {}, Result.TOO_MUCH, "more than 65536 bytes of head came"),
    "no HTTP": (b"", b"x", {}, Result.MALFORMED, "not valid HTTP"),
    "line ends": (b"", b"\r\n", {}, Result.MALFORMED, "not valid HTTP"),
    "trailers": (CHUNKED + b"0\r\n", b"A: b\r\n", {}, Result.MALFORMED, "trailer"),
    "chunk extensions": (CHUNKED, b"1;a=" + b"x" * 900 + b"\r\na\r\n", {}, Result.MALFORMED, "extensions"),
    "one chunk extension": (CHUNKED + b"1;", b"x", {}, Result.MALFORMED, "too long"),
    # The start of a body is enough, as always; the connection cannot be reused.
    "a body": (_OK + b"\r\n", b"x", {}, Result.PASSED, "200 on /"),
    "a body that is searched": (_OK + b"\r\n", b"x", {"body": "ok"}, Result.BODY, "lacks 'ok'"),
    "a long body": (_OK + b"Content-Length: 999999999999\r\n\r\n", b"x", {}, Result.PASSED, "200 on /"),
    "a long body that is searched": (
        _OK + b"Content-Length: 999999999999\r\n\r\n", b"x", {"body": "ok"}, Result.BODY, "lacks 'ok'"
    ),
    "tiny chunks": (CHUNKED, b"1\r\na\r\n", {}, Result.PASSED, "200 on /"),
    "tiny chunks of all sizes": (
        CHUNKED, b"1\r\na\r\n2\r\nab\r\n3\r\nabc\r\n", {"body": "ok"}, Result.BODY, "lacks 'ok'"
    ),
    "a body packed tightly": (
        _OK + b"Content-Encoding: gzip\r\n\r\n", _BOMB, {"body": "ok"}, Result.BODY, "lacks 'ok'"
    ),
    "redirects": (
        b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x", {"expect": ((200, 299),)}, Result.STATUS, "302"
    ),
}  # fmt: skip

# The same, so slowly that no limit is reached: TIMEOUT ends it and reports what has arrived.
DRIPS: dict[str, tuple[bytes, bytes, str]] = {
    "nothing": (b"", b"", "no complete response within 0.3s"),
    "informational responses": (b"", HINT, ", only "),
    "a head": (_OK, b"A", " bytes of a head"),
    "a body": (_OK + b"Content-Length: 1000\r\n\r\n", b"x", "only 200 and "),
    "chunks": (CHUNKED, b"1\r\na\r\n", "only 200 and "),
    "chunk extensions": (CHUNKED + b"1;", b"x", "only 200 and 0 bytes of its body"),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nA: ", b"x", "only 200 and 1 byte of its body"),
}


class Turns:
    """Measures the CPU of the longest turn of this thread's loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.thread_time()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._handle.cancel()


@on_both_loops
@pytest.mark.parametrize("case", FLOODS)
def test_an_endless_response_is_bounded_and_named(run: Run, case: str) -> None:
    first, unit, changes, result, piece = FLOODS[case]
    settings = replaced(SETTINGS, **changes)

    async def main() -> None:
        probes = [Probes()(FakeUpstream("app"), settings) for _ in range(UPSTREAMS)]
        turns = Turns()
        async with asyncio.timeout(PATIENCE):
            checks = [probe.check("127.0.0.1", port) for probe, port in zip(probes, flood.ports, strict=True)]
            replies: list[Reply] = await asyncio.gather(*checks)
        turns.stop()
        for reply in replies:
            assert (reply.result, piece in reply.detail) == (result, True), reply
        assert turns.longest < MOST_TURN
        for probe in probes:
            assert probe._line is None  # its connection is closed already
        assert flood.sent < UPSTREAMS * (READ_LIMIT + BUFFERS)

    with Flood.running(first, unit, count=UPSTREAMS) as flood:
        run(main())


@pytest.mark.parametrize("case", DRIPS)
async def test_a_slow_endless_response_ends_by_timeout_with_its_content(case: str) -> None:
    first, unit, piece = DRIPS[case]
    told: asyncio.Queue[CheckResult] = asyncio.Queue()
    settings = replaced(SETTINGS, interval=PATIENCE, timeout=0.3)
    with Flood.running(first, unit, count=UPSTREAMS, every=0.02) as flood:
        checks = ActiveChecks[Upstream](
            clock=SystemClock(), random=Random(1), sink=NoSink(), open_probe=Probes(),
            loop=asyncio.get_running_loop(),
        )  # fmt: skip
        upstreams = [Upstream(f"app{port}", port) for port in flood.ports]
        for upstream in upstreams:
            checks.add(upstream, settings)
        checks.start()
        for upstream in upstreams:
            checks.check_now(upstream, told.put_nowait)
        async with asyncio.timeout(PATIENCE):
            lasts = [await told.get() for _ in flood.ports]
        await checks.close()
    for last in lasts:
        assert last.result is Result.TIMEOUT
        assert last.detail.startswith("no complete response within 0.3s")
        assert piece in last.detail
        assert last.seconds < 2.0
