"""A response without a length ends with a FIN; a truncated one is never taken for the whole."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from balancer.errors import Outcome
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, body_of, status_of

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
POST = b"POST / HTTP/1.%d\r\nHost: a\r\nContent-Length: 10\r\n\r\n01"
HEAD = b"HTTP/1.1 200 OK\r\nDate: x\r\n"
PIPE, PEER = BrokenPipeError(errno.EPIPE, "Broken pipe"), ConnectionResetError(errno.ECONNRESET, "Reset")

# How the connection ends, with the last bytes of the response.
How = Callable[[FakeTransport, bytes], None]


def then(end: Callable[[FakeTransport], None]) -> How:
    def how(upstream: FakeTransport, data: bytes) -> None:
        upstream.receive(data)
        end(upstream)

    return how


ORDERLY: dict[str, How] = {
    "a FIN": then(FakeTransport.receive_eof),
    "a FIN, then a reset": then(lambda upstream: upstream.lose(PIPE)),
    "a FIN, then a reset, before it was read": lambda upstream, data: upstream.lose(PIPE, data),
}
BROKEN: dict[str, How] = {
    "a reset": then(lambda upstream: upstream.lose(PEER)),
    "a reset that a write met": lambda upstream, data: upstream.lose(PEER, data),
    "a reset read with the last bytes": FakeTransport.receive_reset,
    "a peer that is gone": then(lambda upstream: upstream.lose(TimeoutError(errno.ETIMEDOUT, "Timed out"))),
    "no way to the peer": lambda upstream, data: upstream.lose(OSError(errno.EHOSTUNREACH, "No route"), data),
}
FRAMED = {
    "length": HEAD + b"Content-Length: 4\r\n\r\nhalf",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
}
every_how = pytest.mark.parametrize("how", [*ORDERLY.values(), *BROKEN.values()], ids=[*ORDERLY, *BROKEN])
minors = pytest.mark.parametrize("minor", [0, 1], ids=["HTTP/1.0", "HTTP/1.1"])


def answer(harness: Harness, minor: int, how: How, response: bytes) -> FakeTransport:
    client = harness.ask(POST % minor)
    how(harness.upstream, response)
    harness.settle()
    return client


@minors
@pytest.mark.parametrize("how", ORDERLY.values(), ids=list(ORDERLY))
def test_a_fin_ends_a_body_without_a_length(harness: Harness, minor: int, how: How) -> None:
    client = answer(harness, minor, how, HEAD + b"\r\nwhole")
    assert body_of(client.take()) == (b"5\r\nwhole\r\n0\r\n\r\n" if minor else b"whole")
    assert not client.aborted
    assert harness.logged()["reason"] is None


@minors
@pytest.mark.parametrize("how", BROKEN.values(), ids=list(BROKEN))
def test_no_other_end_completes_a_body_without_a_length(
    make_harness: MakeHarness, told: list[Outcome], minor: int, how: How
) -> None:
    harness = make_harness(policy="telling")
    client = answer(harness, minor, how, HEAD + b"\r\nhalf")
    assert body_of(client.take()) == (b"4\r\nhalf\r\n" if minor else b"half")
    assert client.aborted
    assert client.socket.options == [RESET]  # a FIN would look like a clean end
    assert (harness.logged()["status"], harness.logged()["reason"]) == (200, "response_truncated")
    assert harness.local_counted("response_truncated") == 1
    assert told == [Outcome.FAILED]


@minors
@every_how
@pytest.mark.parametrize("framing", FRAMED)
def test_a_body_that_was_received_to_its_end_is_whole(
    harness: Harness, minor: int, how: How, framing: str
) -> None:
    client = answer(harness, minor, how, FRAMED[framing])
    assert b"half" in client.take()
    assert not client.aborted
    assert harness.logged()["reason"] is None


@every_how
@pytest.mark.parametrize("framing", FRAMED)
def test_a_body_that_lacks_a_byte_is_not_whole(harness: Harness, how: How, framing: str) -> None:
    client = answer(harness, 1, how, FRAMED[framing][:-1])
    assert client.aborted
    assert harness.logged()["reason"] == "response_truncated"


def test_everything_in_the_kernels_buffer_is_read_at_the_end(harness: Harness) -> None:
    """The kernel's buffer is full: a paused download fills it."""
    body = bytes(6 << 20)
    client = harness.ask(POST % 1)
    harness.upstream.lose(PEER, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    harness.settle()
    assert body_of(client.take()) == body
    assert harness.logged()["reason"] is None


@pytest.mark.parametrize("how", [*ORDERLY, *BROKEN])
def test_a_broken_connection_does_not_prove_that_a_post_was_not_read(harness: Harness, how: str) -> None:
    """The connection was idle and nothing is acknowledged: with a FIN that would be proof."""
    client, idle = harness.warm()
    client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    idle.socket.state = 7  # closed
    (ORDERLY | BROKEN)[how](idle, b"HTTP")
    harness.settle()
    assert len(harness.dialled) == 1 + (how in ORDERLY)
    harness.upstream.receive(OK)
    assert status_of(client.take()) == (200 if how in ORDERLY else 502)


def test_a_fin_ends_the_response_while_the_request_is_still_being_written(harness: Harness) -> None:
    """The app is slow to read the rest of the request; its transport cannot close before that."""
    client = harness.ask(POST % 1)
    harness.upstream.receive(HEAD + b"\r\nwhole")
    harness.upstream.pause_writing()
    harness.upstream.receive_eof()
    assert body_of(client.take()) == b"5\r\nwhole\r\n0\r\n\r\n"
    assert harness.inflight == [0]
    harness.settle()
    assert harness.upstream.aborted
