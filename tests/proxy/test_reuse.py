"""Reuse of upstream connections: when they are reused, when they must not be, and stale ones."""

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


def test_a_second_request_uses_the_warm_connection(harness: Harness) -> None:
    client, upstream = harness.warm()
    harness.ask(client=client)
    assert upstream.take().startswith(b"GET / ")
    harness.answer()
    assert client.take() == OK
    assert harness.connects() == 1
    assert harness.reuses() == 1


def test_another_clients_request_uses_it_too(harness: Harness) -> None:
    _, upstream = harness.warm()
    other = harness.ask()
    assert upstream.take().startswith(b"GET / ")
    harness.answer()
    assert other.take() == OK


def test_a_warm_connection_needs_no_task_and_no_dial(harness: Harness) -> None:
    """All within the data callback: the request is written before the loop runs."""
    client, upstream = harness.warm()
    client.receive(GET)
    assert upstream.take().startswith(b"GET / ")
    upstream.receive(OK)
    assert client.take() == OK
    assert len(harness.loop.dials) == 1


ENDINGS = {
    "closed while idle": lambda upstream: upstream.receive_eof(),
    "reset while idle": lambda upstream: upstream.lose(ConnectionResetError()),
    "data while idle": lambda upstream: upstream.receive(OK),
    "a 408 while idle": lambda upstream: upstream.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_a_connection_that_ended_while_idle_is_not_used(harness: Harness, case: str) -> None:
    client, upstream = harness.warm()
    ENDINGS[case](upstream)
    harness.settle()
    assert upstream.is_closing()
    assert harness.idle == 0
    assert harness.closes() == {
        "unexpected_data" if "data" in case or "408" in case else "upstream_closed": 1
    }
    harness.ask(client=client)
    assert harness.connects() == 2
    harness.answer()
    assert client.take() == OK


def test_a_connection_that_is_closing_is_not_used(harness: Harness) -> None:
    """The FIN has been read, the transport closes itself, and connection_lost is still to come."""
    client, upstream = harness.warm()
    upstream.receive_eof()
    harness.ask(client=client)
    assert harness.connects() == 2
    harness.answer()
    assert client.take() == OK


CHUNKED = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SURPLUS = {
    "after a length": b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok" + OK,
    "after the last chunk": CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + OK,
    "after a 204": b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n" + OK,
    "after a 304": b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 2\r\n\r\nok",
}  # fmt: skip


@pytest.mark.parametrize("case", SURPLUS)
@pytest.mark.parametrize("split", [None, -1, -5, -len(OK) - 1], ids=["at once", "1", "5", "at the end"])
def test_surplus_bytes_reach_no_other_exchange(harness: Harness, case: str, split: int | None) -> None:
    response = SURPLUS[case]
    client, upstream = harness.warm()
    client.receive(GET + GET)
    for piece in [response] if split is None else [response[:split], response[split:]]:
        upstream.receive(piece)
    harness.settle()
    sent = client.take()
    assert sent.count(b"HTTP/1.1 ") == 1
    assert upstream.aborted
    assert harness.connects() == 2  # the second request used a fresh one
    harness.answer()
    assert client.take() == OK
    assert harness.idle == 1


def test_surplus_bytes_after_a_head_response(harness: Harness) -> None:
    client = harness.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.answer(OK)  # with a body, which a response to HEAD must not have
    assert body_of(client.take()) == b""
    assert harness.upstream.aborted


# --- stale: the upstream closes an idle connection just as it is taken


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_stale_connection_an_idempotent_request_is_sent_again(
    harness: Harness, method: bytes, reset: bool
) -> None:
    client, upstream = harness.warm()
    client.receive(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    first = upstream.take()
    upstream.lose(ConnectionResetError() if reset else None)
    harness.settle()
    assert harness.upstream is not upstream
    assert harness.upstream.take() == first  # including the request id: it is the same request
    harness.answer(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n")
    assert status_of(client.take()) == 204
    assert harness.retries() == {"stale_connection": 1}
    assert harness.logged()["attempts"] == 2
    assert harness.logged()["reused"] is False


def test_stale_connection_the_retry_uses_a_fresh_one_although_others_are_idle(harness: Harness) -> None:
    """A second idle connection might be just as stale."""
    one, two = harness.ask(), harness.ask()
    for upstream in harness.loop.transports:
        upstream.receive(OK)
    assert harness.idle == 2
    one.take(), two.take()
    one.receive(GET)
    harness.upstream.lose()
    harness.settle()
    assert harness.connects() == 3
    harness.answer()
    assert one.take() == OK


def test_a_fresh_connection_that_closes_is_not_stale(harness: Harness) -> None:
    client = harness.ask()
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502
    assert harness.retries() == {}
    assert harness.connects() == 1


NEVER_TWICE = {
    "POST": POST,
    "POST without a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "PATCH": b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("case", NEVER_TWICE)
def test_stale_connection_other_requests_are_never_sent_twice(make_harness: MakeHarness, case: str) -> None:
    harness = make_harness(2)
    client = harness.ask()
    harness.answer()
    other = harness.ask()
    harness.answer()
    client.take(), other.take()
    client.receive(NEVER_TWICE[case])
    taken = next(upstream for upstream in harness.loop.transports if upstream.take().count(b"\r\n\r\n") == 2
                 or upstream.protocol.reader is not None)  # type: ignore[attr-defined]  # fmt: skip
    taken.lose()
    harness.settle()
    assert status_of(client.take()) == 502
    method = NEVER_TWICE[case].split(b" ")[0]
    assert sum(upstream.written.count(method + b" /") for upstream in harness.loop.transports) == 1
    assert harness.local_counted("upstream_closed") == 1


def test_no_retry_on_a_stale_connection_after_the_response_has_begun(harness: Harness) -> None:
    client, upstream = harness.warm()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nab")
    upstream.lose()
    harness.settle()
    assert body_of(client.take()) == b"ab"
    assert client.aborted
    assert harness.connects() == 1


def test_stale_connection_if_the_upstream_is_gone_the_retry_fails(harness: Harness) -> None:
    client, upstream = harness.warm()
    harness.refuse(1)
    client.receive(GET)
    upstream.lose()
    harness.settle()
    assert status_of(client.take()) == 502
    assert harness.local_counted("connect_refused") == 1
    assert harness.local_counted("upstream_closed") == 0


# --- limits on a connection's life


def test_max_requests_ends_a_connection(make_harness: MakeHarness) -> None:
    harness = make_harness(keepalive={"max_requests": 2})
    client = harness.client()
    for _ in range(4):
        harness.ask(client=client)
        harness.answer()
        assert client.take() == OK
    assert harness.connects() == 2
    assert harness.closes() == {"max_requests": 2}


def test_the_cap_on_idle_connections_counts_idle_ones_only(make_harness: MakeHarness) -> None:
    """With active connections present: otherwise a busy upstream would keep none and dial for every
    request."""
    harness = make_harness(keepalive={"max_idle": 2})
    for _ in range(6):
        harness.ask()
    first, second, third, *active = harness.loop.transports
    for upstream in (first, second):
        upstream.receive(OK)
    harness.settle()
    assert (harness.inflight, harness.idle, harness.closes()) == ([4], 2, {})
    third.receive(OK)
    harness.settle()
    assert (harness.inflight, harness.idle, harness.closes()) == ([3], 2, {"max_idle": 1})
    harness.ask()
    assert (harness.connects(), harness.reuses()) == (6, 1)
    for upstream in (*active, second):
        upstream.receive(OK)
    harness.settle()
    assert (harness.idle, harness.closes()) == (2, {"max_idle": 4})


def test_the_sweep_enforces_the_idle_timeout(harness: Harness) -> None:
    _, upstream = harness.warm()
    harness.advance(3.9)
    assert not upstream.is_closing()
    harness.advance(0.2)
    assert upstream.is_closing()
    assert harness.closes() == {"idle_timeout": 1}


def test_a_new_address_ends_all_connections_to_the_old_one(harness: Harness) -> None:
    client, idle = harness.warm()
    busy_client = harness.ask(client=client)
    other = harness.ask()
    busy, fresh = harness.loop.transports
    assert busy is idle
    fresh.receive(OK)
    assert other.take() == OK
    harness.move(1, "10.0.0.77")
    assert fresh.is_closing()
    assert not busy.is_closing()
    busy.receive(OK)
    assert busy_client.take() == OK
    assert busy.is_closing()
    harness.ask(client=client)
    assert harness.dialled[-1] == "10.0.0.77"
    harness.answer()
