"""One check over real sockets: what is sent, what is kept, and the name of each fault."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import pytest
import uvloop

from balancer import __version__
from balancer.health.answer import BODY_LIMIT
from balancer.health.hints import Asked, hint
from balancer.health.probe import CHECKS_PER_CONNECTION, HttpProbe, Probes
from balancer.health.result import Reply, Result
from balancer.spec.instance import CheckSpec
from balancer.spec.part import replaced
from tests.health.harness import SETTINGS, FakeUpstream
from tests.health.raw_server import OK, RawServer, raw_server

PATIENCE = 20.0  # seconds after which a test has failed

pytestmark = pytest.mark.integration


# The supervisor runs on uvloop; the other tests here use asyncio's loop. Errors differ most between the two.
on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as server:
        yield server


class Checker:
    """A probe of the server."""

    def __init__(self, server: RawServer, via: object = "", **changes: object) -> None:
        settings: CheckSpec = replaced(SETTINGS, **changes)
        self.server = server
        self.probe: HttpProbe = Probes(str(via))(FakeUpstream("app1:8000"), settings)

    async def __aenter__(self) -> "Checker":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.probe.close()

    async def check(self) -> Reply:
        async with asyncio.timeout(PATIENCE):
            return await self.probe.check("127.0.0.1", self.server.port)


async def test_the_request_of_a_check(server: RawServer) -> None:
    async with Checker(server, path="/up%2Fall?full=1&x=a+b%26") as checker:
        assert await checker.check() == Reply(Result.PASSED, 200, "200 on /up%2Fall")
    lines = server.heads[0].split("\r\n")
    assert lines[0] == "GET /up%2Fall?full=1&x=a+b%26 HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "Accept: */*",
        "Host: app1:8000",
        f"User-Agent: balancer-check/{__version__}",
    ]


NAME = "balancer-0123abcd"
LOOPED = b"HTTP/1.1 508 Loop Detected\r\nContent-Length: %d\r\n\r\n%b"


async def test_via_names_the_instance(server: RawServer) -> None:
    async with Checker(server, via=NAME) as checker:
        await checker.check()
    assert f"Via: 1.1 {NAME}" in server.heads[0].split("\r\n")


@pytest.mark.parametrize(
    ("body", "via", "result", "piece"),
    [
        pytest.param(
            NAME.encode(),
            NAME,
            Result.LOOP,
            "508 on /: this upstream points back to this balancer",
            id="ours",
        ),
        pytest.param(b"balancer-89abcdef", NAME, Result.STATUS, "found a request loop", id="another's"),
        pytest.param(b"", NAME, Result.STATUS, "found a request loop", id="unnamed"),
        pytest.param(NAME.encode(), "", Result.STATUS, "found a request loop", id="without Via"),
    ],
)
async def test_a_check_that_returns_to_us_fails(
    server: RawServer, body: bytes, via: str, result: Result, piece: str
) -> None:
    server.answer = [LOOPED % (len(body), body)]
    async with Checker(server, via=via) as checker:
        reply = await checker.check()
    assert reply == Reply(result, 508, "508 on /")
    assert piece in hint(reply, Asked(SETTINGS, "app1", has_passed=True))


async def test_a_check_that_returns_does_not_pass_for_an_expected_status(server: RawServer) -> None:
    server.answer = [LOOPED % (len(NAME), NAME.encode())]
    async with Checker(server, via=NAME, expect=((200, 599),)) as checker:
        assert (await checker.check()).result is Result.LOOP


async def test_configured_headers_override_the_defaults(server: RawServer) -> None:
    headers = (("host", "shop.example"), ("Authorization", "Bearer x"), ("USER-AGENT", "me"))
    async with Checker(server, headers=headers) as checker:
        await checker.check()
    lines = server.heads[0].split("\r\n")[1:-2]
    assert sorted(lines, key=str.lower) == [
        "Accept: */*",
        "Authorization: Bearer x",
        "host: shop.example",
        "USER-AGENT: me",
    ]


@on_both_loops
def test_the_connection_is_kept_and_every_tenth_check_uses_a_fresh_one(run: Run) -> None:
    async def main() -> None:
        async with raw_server() as server, Checker(server) as checker:
            for number in range(25):
                assert (await checker.check()).result is Result.PASSED
                assert server.connections == 1 + number // CHECKS_PER_CONNECTION
                assert len(server.open) <= 2
            await checker.probe.close()
            async with asyncio.timeout(PATIENCE):
                await server.idle()

    run(main())


async def test_a_replica_that_serves_only_old_connections_is_noticed(server: RawServer) -> None:
    async with Checker(server) as checker:
        for _ in range(CHECKS_PER_CONNECTION):
            assert (await checker.check()).result is Result.PASSED
        server.close_new = True
        assert [(await checker.check()).result for _ in range(3)] == [Result.CLOSED] * 3


async def test_a_connection_closed_while_idle_is_not_a_failure(server: RawServer) -> None:
    async with Checker(server) as checker:
        assert (await checker.check()).result is Result.PASSED
        server.hang_up()
        async with asyncio.timeout(PATIENCE):
            await server.idle()
        assert (await checker.check()).result is Result.PASSED
        assert server.connections == 2


@on_both_loops
def test_a_connection_closed_just_as_it_is_used_is_not_a_failure(run: Run) -> None:
    async def main() -> None:
        async with raw_server() as server, Checker(server) as checker:
            for number in range(5):
                assert (await checker.check()).result is Result.PASSED
                assert server.connections == number + 1
                server.hang_up()  # takes effect in the loop's next turn, after the next request

    run(main())


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"],
        [b"HTTP/1.1 204 No Content\r\n\r\n"],
        [b"HTTP/1.1 103 Early Hints\r\n\r\n", OK],
    ],
    ids=["in two writes", "chunked", "without a body", "after an interim response"],
)
async def test_a_connection_is_kept_whatever_the_framing(server: RawServer, parts: list[bytes]) -> None:
    server.answer = parts
    async with Checker(server) as checker:
        assert [(await checker.check()).result for _ in range(3)] == [Result.PASSED] * 3
    assert server.connections == 1


# Changed settings, what the server writes before it closes, result, and a part of the detail.
ANSWERS: dict[str, tuple[dict[str, object], bytes, Result, str]] = {
    "an error": ({}, b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", Result.STATUS, "500 on /"),
    "a redirect is not followed": (
        {"expect": ((200, 299),)},
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        Result.STATUS,
        "302 on /",
    ),
    "body found": ({"body": "ok"}, OK, Result.PASSED, "200 on /"),
    "body lacks it": ({"body": "fine"}, OK, Result.BODY, "its body lacks 'fine'"),
    "body without a length": ({"body": "ok"}, b"HTTP/1.0 200 OK\r\n\r\nall ok", Result.PASSED, "200 on /"),
    "body is not decoded": (
        {"body": "raw"},
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw",
        Result.PASSED,
        "200 on /",
    ),
    "a switch of protocols": (
        {},
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        Result.STATUS,
        "101",
    ),
    "nothing": ({}, b"", Result.CLOSED, "closed before a response head"),
    "half a head": ({}, b"HTTP/1.1 200 OK\r\nConte", Result.CLOSED, ""),
    "half a body": ({}, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", Result.CLOSED, "broke off"),
    "half a chunk": ({}, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", Result.CLOSED, ""),
    "no chunk size": (
        {},
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Result.MALFORMED,
        "",
    ),
    "another protocol": ({}, b"SSH-2.0-OpenSSH_9.6\r\n", Result.MALFORMED, "not valid HTTP"),
    "a bad header": ({}, b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", Result.MALFORMED, "not valid HTTP"),
    "an endless head": (
        {},
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        Result.TOO_MUCH,
        "bytes of head came",
    ),
}


@on_both_loops
@pytest.mark.parametrize("case", ANSWERS)
def test_each_fault_has_its_name(run: Run, case: str) -> None:
    async def main() -> None:
        async with raw_server() as server:
            changes, answer, result, piece = ANSWERS[case]
            server.answer = [answer]
            server.close_after = True
            async with Checker(server, **changes) as checker:
                reply = await checker.check()
            assert (reply.result, piece in reply.detail) == (result, True), reply
            assert len(reply.detail) < 200
            assert "\n" not in reply.detail
            assert all("/elsewhere" not in head for head in server.heads)

    run(main())


# What the server writes before it resets the connection -> whether that is a response.
RESET = {
    "a body without a length": (b"HTTP/1.0 200 OK\r\n\r\nall", False),
    "no body, and no length": (b"HTTP/1.1 200 OK\r\n\r\n", False),
    "a length": (OK, True),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
    "a status without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "more than is read": (b"HTTP/1.0 200 OK\r\n\r\n" + bytes(2 * BODY_LIMIT), True),
}


@on_both_loops
@pytest.mark.parametrize("case", RESET)
def test_a_reset_does_not_complete_a_response_without_a_length(run: Run, case: str) -> None:
    async def main() -> None:
        async with raw_server() as server:
            answer, whole = RESET[case]
            server.answer = [answer]
            server.reset_after = True
            async with Checker(server) as checker:
                replies = [await checker.check() for _ in range(2)]
        cut = Reply(Result.CLOSED, 0, "its response broke off")
        assert [reply.result is Result.PASSED if whole else reply == cut for reply in replies] == [True] * 2

    run(main())


LONG = b"x" * BODY_LIMIT


@pytest.mark.parametrize("body", ["", "yyy"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % 100_000_000,
    ],
    ids=["length", "chunked"],
)
async def test_only_the_start_of_a_huge_body_is_read(server: RawServer, head: bytes, body: str) -> None:
    server.answer = [head, b"yyy", LONG, b"zzz", LONG]  # and the rest never arrives
    async with Checker(server, body=body) as checker:
        assert (await checker.check()).result is Result.PASSED
        async with asyncio.timeout(PATIENCE):
            await server.idle()  # its connection cannot be reused


async def test_expected_text_beyond_the_limit_is_not_found(server: RawServer) -> None:
    server.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 3), LONG, b"yyy"]
    async with Checker(server, body="yyy") as checker:
        assert (await checker.check()).result is Result.BODY


@on_both_loops
def test_a_cancelled_check_closes_its_connection(run: Run) -> None:
    async def main() -> None:
        async with raw_server() as server:
            server.answer = None
            async with Checker(server) as checker:
                task = asyncio.create_task(checker.check())
                async with asyncio.timeout(PATIENCE):
                    await server.asked.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                async with asyncio.timeout(PATIENCE):
                    await server.idle()
                server.answer = [OK]
                assert (await checker.check()).result is Result.PASSED

    run(main())


@on_both_loops
def test_a_port_without_a_listener_is_refused(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, so that no other process gets it, but not listening
            port = taken.getsockname()[1]
            probe = Probes()(FakeUpstream("app1"), SETTINGS)
            reply = await probe.check("127.0.0.1", port)
            await probe.close()
        assert reply == Reply(Result.REFUSED, 0, f"refused: nothing listens on 127.0.0.1:{port}")

    run(main())


@on_both_loops
def test_an_unreachable_address_is_reported(run: Run) -> None:
    async def main() -> None:
        probe = Probes()(FakeUpstream("app1"), SETTINGS)
        reply = await probe.check(
            "255.255.255.255", 9
        )  # no TCP to a broadcast address: the kernel fails it at once
        await probe.close()
        assert reply.result is Result.UNREACHABLE
        assert "255.255.255.255:9" in reply.detail

    run(main())


async def test_a_changed_address_closes_the_old_connection(server: RawServer) -> None:
    async with raw_server() as other, Checker(server) as checker:
        await checker.check()
        assert (await checker.probe.check("127.0.0.1", other.port)).result is Result.PASSED
        assert other.connections == 1
        async with asyncio.timeout(PATIENCE):
            await server.idle()
        await checker.probe.close()


async def test_checks_work_over_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        async with raw_server("::1") as server:
            probe = Probes()(FakeUpstream("[::1]:8000"), SETTINGS)
            assert (await probe.check("::1", server.port)).result is Result.PASSED
            await probe.close()
            assert "Host: [::1]:8000\r\n" in server.heads[0]
    except OSError:
        pytest.skip("this machine has no IPv6")


# Responses that are not exact, but accepted by the proxy (`tests/corpus/responses.txt`).
INEXACT = {
    "white space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "CR and NUL in values": b"HTTP/1.1 200 OK\r\nX: a\rb\0c\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nok",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "chunks in bare LF": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    "200 fields": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"X-A: 1\r\n" * 199 + b"\r\nok",
    "until it closes": b"HTTP/1.2 200 OK\r\n\r\nall ok",
    "after an interim response": b"HTTP/1.2 103 X\r\n\r\nHTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


@on_both_loops
@pytest.mark.parametrize("case", INEXACT)
def test_responses_the_proxy_accepts_are_not_faults(run: Run, case: str) -> None:
    async def main() -> None:
        async with raw_server() as server, Checker(server, path="/up%2F?x=a+b", body="ok") as checker:
            server.answer = [INEXACT[case]]
            server.close_after = True
            assert await checker.check() == Reply(Result.PASSED, 200, "200 on /up%2F")
            assert len(server.heads) == 1

    run(main())


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(b"HTTP/1.2 503 X\r\nContent-Length: 0\r\n\r\n", Result.STATUS, id="an error"),
        pytest.param(b"HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\nfine", Result.BODY, id="another body"),
        pytest.param(b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nok", Result.CLOSED, id="half a body"),
        pytest.param(b"", Result.CLOSED, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", Result.MALFORMED, id="another protocol"),
        pytest.param(
            b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            Result.MALFORMED,
            id="in doubt",
        ),
        pytest.param(b"HTTP/1.2 103 X\r\n\r\n" * 101, Result.TOO_MUCH, id="hints without an end"),
    ],
)
async def test_an_inexact_response_is_judged_like_any_other(
    server: RawServer, answer: bytes, result: Result
) -> None:
    server.answer = [INEXACT["HTTP/1.2"]]
    server.close_after = True
    async with Checker(server, body="ok") as checker:
        assert (await checker.check()).result is Result.PASSED
        server.answer = [answer]
        assert (await checker.check()).result is result
        server.answer = [OK]
        assert (await checker.check()).result is Result.PASSED


async def test_large_fields_are_no_fault(server: RawServer) -> None:
    server.answer = [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n"]
    async with Checker(server) as checker:
        assert (await checker.check()).result is Result.PASSED


async def test_at_the_cap_the_longest_kept_connection_is_closed(server: RawServer) -> None:
    open_probe = Probes(most=2)
    first, second, third = probes = [
        open_probe(FakeUpstream(f"app{number}"), SETTINGS) for number in range(3)
    ]
    for probe in (first, second, first, third):  # the second has kept its connection for longest by now
        assert (await probe.check("127.0.0.1", server.port)).result is Result.PASSED
    assert server.connections == 3
    assert (await first.check("127.0.0.1", server.port)).result is Result.PASSED
    assert server.connections == 3
    assert (await second.check("127.0.0.1", server.port)).result is Result.PASSED
    assert server.connections == 4
    for probe in probes:
        await probe.close()


async def test_no_check_runs_while_too_many_still_wait_for_answers(server: RawServer) -> None:
    server.answer = None
    open_probe = Probes(most=1)
    hangs, other = open_probe(FakeUpstream("app0"), SETTINGS), open_probe(FakeUpstream("app1"), SETTINGS)
    waiting = asyncio.create_task(hangs.check("127.0.0.1", server.port))
    async with asyncio.timeout(PATIENCE):
        await server.asked.wait()
    assert (await other.check("127.0.0.1", server.port)).result is Result.NOT_MADE
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.answer = [OK]
    assert (await other.check("127.0.0.1", server.port)).result is Result.PASSED
    for probe in (hangs, other):
        await probe.close()
