"""Successive requests on one client connection: what is remembered of a head, and what is not."""

import pytest

from balancer.clients.connection import ClientConnection
from balancer.clients.read_ahead import ReadAhead
from balancer.clients.stream import Http1Stream
from balancer.http.fields import Field
from balancer.http.forwarded import ClientFacts
from balancer.http.request_head import RequestHead
from balancer.proxy.attempt import Attempt
from balancer.proxy.exchange import Exchange
from balancer.proxy.replay import Replay
from tests.fakes.attributes import attributes_of
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of


def ids_of(sent: bytes) -> list[bytes]:
    return [line for line in head_of(sent) if line.startswith(b"X-Request-ID: ")]


def test_each_request_has_its_own_id(harness: Harness) -> None:
    client = harness.client()
    ids = []
    for _ in range(5):
        harness.ask(client=client)
        ids += ids_of(harness.upstream.take())
        harness.answer()
    assert len(set(ids)) == 5


def test_a_request_id_of_the_client_is_kept(harness: Harness) -> None:
    client = harness.client()
    for name in (b"one", b"two", b"two"):
        harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: %b\r\n\r\n" % name, client)
        assert ids_of(harness.upstream.take()) == [b"X-Request-ID: " + name]
        harness.answer()
        assert harness.logged()["request_id"] == name.decode()


LARGE_HEADS = {
    "a large cookie": b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %b\r\n\r\n" % (b"x" * 60_000),
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X-Some: thing\r\n" * 190),
    "from a proxy": b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %b\r\n\r\n" % (b"1.2.3.4, " * 6000),
    "a target in absolute form": b"GET http://a/%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 8000),
}


@pytest.mark.parametrize("case", LARGE_HEADS)
def test_an_idle_client_keeps_nothing_of_a_large_head(harness: Harness, case: str) -> None:
    client = harness.ask(LARGE_HEADS[case])
    assert _bytes_held(client.protocol) > 2500
    harness.answer()
    assert client.take() == OK
    assert _bytes_held(client.protocol) < 500
    harness.ask(client=client)  # and the next one is served as any
    harness.answer()
    assert client.take() == OK


_HELD = (ClientConnection, Http1Stream, Replay, Exchange, RequestHead, ReadAhead, Attempt, Field, ClientFacts)


def _bytes_held(connection: object) -> int:
    """Bytes of all strings held by a client connection, its exchange and its heads."""
    total = 0
    seen: set[int] = set()
    left: list[object] = [connection]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, bytes):
            total += len(one)
        elif isinstance(one, list | tuple):
            left += one
        elif isinstance(one, _HELD):
            left += [getattr(one, name, None) for name in attributes_of(type(one))]
    return total


def test_a_head_that_differs_only_in_its_target(harness: Harness) -> None:
    client = harness.client()
    for target in (b"/a", b"/b?c", b"/a"):
        harness.ask(b"GET %b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n" % target, client)
        lines = head_of(harness.upstream.take())
        assert lines[0] == b"GET %b HTTP/1.1" % target
        assert lines[1:3] == [b"Host: a", b"Accept: */*"]
        harness.answer()
        assert harness.logged()["target"] == target.decode()


SEQUENCES = {
    "methods": [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1", b"DELETE / HTTP/1.1", b"GET / HTTP/1.1"],
    "forms": [b"GET / HTTP/1.1", b"GET http://b/ HTTP/1.1", b"GET / HTTP/1.1", b"OPTIONS * HTTP/1.1"],
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_a_head_that_differs_in_its_start_line(harness: Harness, case: str) -> None:
    client = harness.client()
    for start in SEQUENCES[case]:
        harness.ask(start + b"\r\nHost: a\r\n\r\n", client)
        lines = head_of(harness.upstream.take())
        assert lines[0] == start.replace(b"http://b", b"")
        assert (b"Host: b" if b"http" in start else b"Host: a") in lines
        harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n")


def test_a_limit_on_the_target_applies_to_the_second_request_too(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"uri_bytes": 10})
    client = harness.ask()
    harness.answer()
    client.take()
    harness.ask(b"GET /0123456789 HTTP/1.1\r\nHost: a\r\n\r\n", client)
    assert status_of(client.take()) == 414


def test_a_bad_target_is_refused_the_second_time_too(harness: Harness) -> None:
    client = harness.ask()
    harness.answer()
    client.take()
    harness.ask(b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n", client)
    assert status_of(client.take()) == 400


def test_the_same_head_with_different_bodies(harness: Harness) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    client = harness.ask(head + b"abc" + head + b"def" + head)
    for body in (b"abc", b"def", b""):
        assert body_of(harness.upstream.take()) == body
        if not body:
            client.receive(b"ghi")
            assert harness.upstream.take() == b"ghi"
        harness.answer()
    assert client.take() == OK * 3


def test_without_host_each_upstream_gets_its_own(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    client = harness.client()
    hosts = []
    for _ in range(4):
        harness.ask(request, client)
        busy = next(one for one in harness.loop.transports if one.protocol.reader is not None)  # type: ignore[attr-defined]
        hosts += [line for line in head_of(busy.take()) if line.startswith(b"Host")]
        busy.receive(OK)
    assert hosts == [b"Host: 10.0.0.1:8000", b"Host: 10.0.0.2:8000"] * 2


def test_close_applies_to_its_own_request_only(harness: Harness) -> None:
    client = harness.ask(GET)
    harness.answer()
    harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", client)
    assert client.take() == OK
    harness.answer()
    assert b"Connection: close" in head_of(client.take())
    assert client.closed


def test_a_failure_does_not_affect_the_next_request(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.refuse(1)
    client = harness.ask()
    assert status_of(client.take()) == 502
    harness.accept(1)
    harness.ask(client=client)
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["reason"] is None


# --- local responses, by the request


def test_a_failure_answers_head_without_a_body(harness: Harness) -> None:
    harness.refuse(1)
    client = harness.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    sent = client.take()
    assert status_of(sent) == 502
    assert body_of(sent) == b""
    assert not client.is_closing()


def test_a_failure_is_answered_in_json_if_preferred(harness: Harness) -> None:
    harness.refuse(1)
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n")
    sent = client.take()
    assert b"Content-Type: application/json" in head_of(sent)
    assert b'"reason":"connect_refused"' in body_of(sent)


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"], ids=["plain", "keep-alive"])
def test_a_failure_is_answered_to_http_1_0(harness: Harness, connection: bytes) -> None:
    """The connection stays open only if the client asks for it."""
    harness.refuse(1)
    client = harness.ask(b"GET / HTTP/1.0\r\n" + connection + b"\r\n")
    lines = head_of(client.take())
    assert status_of(lines[0]) == 502
    assert (b"Connection: keep-alive" in lines) is not client.is_closing()


def test_a_failure_with_an_incomplete_body_closes(harness: Harness) -> None:
    harness.refuse(1)
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    sent = client.take()
    assert status_of(sent) == 502
    assert b"Connection: close" in head_of(sent)
    assert client.eof_written
    client.receive(b"defghij" + GET)
    assert client.take() == b""
