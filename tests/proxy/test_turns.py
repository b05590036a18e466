"""The cost of one connection per turn of the loop is bounded; the rest continues in the next turns."""

import pytest

from balancer.clients.connection import ClientConnection
from balancer.connections.intake import LARGE_READ, LEAST_READ
from balancer.errors import MALFORMED_REQUEST
from balancer.http.chunked import ChunkedDecoder
from tests.fakes.transport import FakeTransport
from tests.proxy.harness import GET, Harness, body_of, status_of

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
# No two neighbours are equal, so each costs a step.
MANY = b"".join(b"%x\r\n%b\r\n" % (1 + number % 3, b"abc"[: 1 + number % 3]) for number in range(6000))
PAYLOAD = b"".join(b"abc"[: 1 + number % 3] for number in range(6000))
END = b"0\r\n\r\n"


def payload_of(sent: bytes) -> bytes:
    """The decoded data of a chunked body, or of a part of one."""
    decoder = ChunkedDecoder(MALFORMED_REQUEST, 1000)
    payload = decoder.feed(sent)
    while decoder.more:
        payload += decoder.feed(b"")
    return payload


def test_an_upload_in_small_chunks_takes_many_turns_and_arrives_whole(harness: Harness) -> None:
    client = harness.ask(UPLOAD)
    upstream = harness.upstream
    upstream.take()
    client.receive(MANY + END)
    first = payload_of(upstream.take())
    assert 0 < len(first) < len(PAYLOAD) / 5
    assert not client.reading
    harness.settle()
    assert first + payload_of(upstream.take()) == PAYLOAD
    assert client.reading
    harness.answer()
    assert status_of(client.take()) == 200


def test_small_chunks_read_together_with_their_head_take_many_turns_too(harness: Harness) -> None:
    client = harness.ask(UPLOAD + MANY + END)
    assert payload_of(body_of(harness.upstream.take())) == PAYLOAD
    harness.answer()
    assert status_of(client.take()) == 200


def test_other_connections_have_their_turn_meanwhile(harness: Harness) -> None:
    busy = harness.ask(UPLOAD)
    upstream = harness.upstream
    other = harness.client()
    upstream.take()
    told: list[int] = []
    busy.receive(MANY + END)
    harness.loop.call_soon(lambda: told.append(len(payload_of(upstream.take()))))
    harness.settle()
    assert told[0] < len(PAYLOAD) / 2
    harness.ask(GET, other)
    harness.answer()
    assert status_of(other.take()) == 200


def test_a_response_in_small_chunks_takes_many_turns_and_arrives_whole(harness: Harness) -> None:
    client = harness.ask()
    harness.upstream.receive(HEAD + MANY + END)
    first = payload_of(body_of(client.take()))
    assert 0 < len(first) < len(PAYLOAD) / 5
    harness.settle()
    assert first + payload_of(client.take()) == PAYLOAD
    assert harness.idle == 1, "the connection is kept"


def test_a_slow_client_holds_back_the_rest(harness: Harness) -> None:
    client = harness.ask()
    harness.upstream.receive(HEAD + MANY[: len(MANY) // 2])
    client.pause_writing()
    before = len(client.written)
    harness.settle()
    assert len(client.written) == before
    client.resume_writing()
    harness.settle()
    harness.upstream.receive(MANY[len(MANY) // 2 :] + END)
    harness.settle()
    assert payload_of(body_of(bytes(client.written))) == PAYLOAD


def test_a_slow_upstream_holds_back_the_rest(harness: Harness) -> None:
    client = harness.ask(UPLOAD)
    upstream = harness.upstream
    upstream.take()
    client.receive(MANY + END)
    upstream.pause_writing()
    before = len(upstream.written)
    harness.settle()
    assert len(upstream.written) == before
    upstream.resume_writing()
    harness.settle()
    assert payload_of(body_of(bytes(upstream.written))) == PAYLOAD
    harness.answer()


@pytest.mark.parametrize("lost", [None, ConnectionResetError()], ids=["closed", "reset"])
def test_data_read_before_the_connection_was_lost_still_arrives(
    harness: Harness, lost: Exception | None
) -> None:
    client = harness.ask()
    harness.upstream.receive(HEAD + MANY + END)
    harness.upstream.lose(lost)
    harness.settle()
    assert payload_of(body_of(client.take())) == PAYLOAD
    assert not client.is_closing()


def test_after_a_fault_in_the_rest_the_client_is_refused(harness: Harness) -> None:
    client = harness.ask(UPLOAD)
    client.receive(MANY + b"nonsense\r\n")
    assert client.take() == b""
    harness.settle()
    assert status_of(client.take()) == 400


def test_a_client_that_leaves_before_its_turn_leaves_nothing_behind(harness: Harness) -> None:
    client = harness.ask(UPLOAD)
    client.receive(MANY)
    client.lose()
    harness.settle()
    assert harness.inflight == [0]


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_after_a_large_read_a_connection_rests_for_a_turn(harness: Harness, side: str) -> None:
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * LARGE_READ))
    upstream = harness.upstream
    if side == "upstream":
        client.receive(bytes(2 * LARGE_READ))
        harness.settle()
        upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * LARGE_READ))
    one: FakeTransport = client if side == "client" else upstream
    one.receive(bytes(LARGE_READ))
    assert not one.reading
    harness.settle()
    assert one.reading
    one.receive(bytes(LARGE_READ - 1))
    assert one.reading


def test_of_pipelined_requests_that_end_at_once_only_some_are_answered_per_turn(harness: Harness) -> None:
    harness.tell()  # no upstream: each is 503 at once
    client = harness.client()
    client.receive(GET * 100)
    answered = client.take().count(b"HTTP/1.1 503")
    assert 0 < answered < 50
    harness.settle()
    assert answered + client.take().count(b"HTTP/1.1 503") == 100


def test_a_client_that_sends_far_ahead_is_read_in_small_pieces(harness: Harness) -> None:
    pipelined = 10_000
    client = harness.ask()
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    client.receive(GET * 2_000)
    assert not client.reading
    client.receive(GET * (pipelined - 2_000))
    most = 0
    for _ in range(1 + pipelined):
        harness.answer()
        most = max(most, len(connection._ahead))
    assert client.take().count(b"HTTP/1.1 200") == 1 + pipelined
    assert most < 2_000 * len(GET) + LEAST_READ
    client.receive(GET)
    harness.settle()
    harness.answer()
    client.receive(bytes(2 * LARGE_READ))  # in one piece again: it is refused at once
    assert b"HTTP/1.1 400" in client.take()


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_chunks_are_read_in_pieces_that_one_turn_can_decode(harness: Harness, side: str) -> None:
    client = harness.ask(UPLOAD)
    upstream = harness.upstream
    if side == "upstream":
        client.receive(END)
        upstream.receive(HEAD)
    one: FakeTransport = client if side == "client" else upstream
    other: FakeTransport = upstream if side == "client" else client
    one.receive(b"1\r\na\r\n" * LARGE_READ)
    other.writes.clear()
    one.receive(b"1\r\na\r\n" * LARGE_READ)
    harness.settle()
    assert max(map(len, other.writes)) <= LARGE_READ // 6 + 10
