"""Pipelined requests are answered in order, one at a time, and only as fast as the client reads."""

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, head_of, status_of


def get(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number


def ok(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\n\r\n%03d" % number


class SmallTransport(FakeTransport):
    """A client that reads nothing: after `capacity` bytes the protocol is told to pause."""

    capacity = 1000

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        before, self.buffered = self.buffered, self.buffered + len(data)
        if before <= self.capacity < self.buffered:
            self.protocol.pause_writing()


def small_client(harness: Harness) -> SmallTransport:
    client = SmallTransport(harness.loop, harness.proxy.client_protocol())
    harness.clients.append(client)
    return client


@pytest.mark.parametrize("size", [1, 7, 10_000], ids=["byte by byte", "in sevens", "at once"])
def test_responses_come_in_order_and_one_at_a_time(harness: Harness, size: int) -> None:
    client = harness.client()
    data = b"".join(get(number) for number in range(5))
    for place in range(0, len(data), size):
        client.receive(data[place : place + size])
    harness.settle()
    for number in range(5):
        sent = harness.upstream.take()
        assert sent.startswith(b"GET /%d " % number)
        assert sent.count(b"\r\n\r\n") == 1
        harness.answer(ok(number))
        assert client.take() == ok(number)
    assert len(harness.loop.transports) == 1


def test_pipelined_requests_may_have_bodies(harness: Harness) -> None:
    post = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d"
    chunked = b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n"
    client = harness.ask(post % (0, 0) + chunked % (1, 1) + get(2) + post % (3, 3))
    for number, body in enumerate([b"000", b"3\r\n001\r\n0\r\n\r\n", b"", b"003"]):
        sent = harness.upstream.take()
        assert sent.split(b" ")[1] == b"/%d" % number
        assert sent.partition(b"\r\n\r\n")[2] == body
        harness.answer(ok(number))
        assert client.take() == ok(number)


def test_requests_behind_a_closing_request_are_not_served(harness: Harness) -> None:
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
    harness.answer()
    assert b"Connection: close" in head_of(client.take())
    assert client.eof_written
    harness.settle()
    assert harness.upstream.written.count(b"GET ") == 1


def test_a_bad_request_waits_for_its_turn(harness: Harness) -> None:
    client = harness.ask(GET + b"GET /\x01 HTTP/1.1\r\n\r\n")
    assert client.take() == b""
    harness.answer()
    sent = client.take()
    assert sent.startswith(OK)
    assert status_of(sent[len(OK) :]) == 400
    assert client.eof_written


def test_a_thousand_local_responses_without_recursion(harness: Harness) -> None:
    """No upstream has an address: each gets its 503 at once, all in one read."""
    harness.move(1, "")
    client = harness.ask(GET * 1000)
    assert client.take().count(b"HTTP/1.1 503 ") == 1000
    assert not client.is_closing()
    assert harness.local_counted("no_upstream") == 1000


def test_a_thousand_pipelined_requests_are_answered_upstream(harness: Harness) -> None:
    client = harness.ask(GET * 1000)
    for _ in range(1000):
        harness.answer()
    assert client.take() == OK * 1000
    assert len(harness.loop.transports) == 1


def test_read_ahead_is_bounded(harness: Harness) -> None:
    client = harness.ask()
    for _ in range(100):
        client.receive(GET * 100)
    assert not client.reading
    read = harness.upstream
    for number in range(10_001):
        assert harness.idle == 0, number
        read.receive(OK)
        harness.settle()
    assert client.take() == OK * 10_001
    assert client.reading


def test_a_client_that_does_not_read_is_served_no_further(harness: Harness) -> None:
    """Answered locally, so that nothing else can slow it down."""
    harness.move(1, "")
    client = small_client(harness)
    client.receive(GET * 200)
    served = client.take().count(b"HTTP/1.1 503 ")
    assert served < 10
    assert not client.reading
    client.resume_writing()
    assert 0 < client.take().count(b"HTTP/1.1 503 ") < 10
    while not client.reading:
        client.resume_writing()
        harness.settle()
    assert harness.local_counted("no_upstream") == 200


# What is held back until the client reads; what follows after that.
HELD = {
    "part of a head": (get(1)[:10], get(1)[10:]),
    "a head, and part of another": (get(1) + get(2)[:10], get(2)[10:]),
    "a request without its body": (b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", b"abc"),
    "a request with part of its body": (b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", b"bc"),
    "nothing": (b"", get(1)),
}


@pytest.mark.parametrize("case", HELD)
def test_serving_resumes_when_the_client_reads_again(harness: Harness, case: str) -> None:
    held, later = HELD[case]
    client, upstream = harness.warm()
    client.receive(GET)
    client.receive(held)
    client.pause_writing()
    upstream.receive(OK)
    assert upstream.take().count(b"GET / ") == 1  # no more until it reads
    client.resume_writing()
    harness.settle()
    client.receive(later)
    harness.settle()
    for _ in range((held + later).count(b"HTTP/1.1")):
        sent = upstream.take()
        assert sent.split(b" ")[1] in (b"/1", b"/2")
        assert not sent.startswith(b"POST") or sent.endswith(b"abc")
        harness.answer()
    assert client.take() == OK * (1 + (held + later).count(b"HTTP/1.1"))
    assert client.reading


def test_each_client_has_its_own_order(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    one, two = harness.ask(get(1)), harness.ask(get(2))
    first, second = harness.loop.transports
    second.receive(ok(2))
    assert two.take() == ok(2)
    assert one.take() == b""
    first.receive(ok(1))
    assert one.take() == ok(1)


def test_reading_ahead_is_bounded_however_many_requests_wait(harness: Harness) -> None:
    """Each served request frees its few bytes, not room for another whole read."""
    client = harness.client()
    client.receive(GET * 1000)
    harness.settle()
    client.receive(GET * 3000)
    assert not client.is_reading()
    for _ in range(100):
        harness.answer()
        assert not client.is_reading()
    served = 100
    while not client.is_reading():
        harness.answer()
        served += 1
    assert 3000 < served < 4000
    for _ in range(4000 - served):
        harness.answer()
    assert client.take().count(b"HTTP/1.1 200 ") == 4000
