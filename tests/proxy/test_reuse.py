"""Upstream connections used again: when they are, when they must not be, and those that have gone stale."""

import pytest

from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


def test_a_second_request_takes_the_warm_connection(stage: Stage) -> None:
    client, upstream = stage.warm()
    stage.ask(client=client)
    assert upstream.take().startswith(b"GET / ")
    stage.answer()
    assert client.take() == OK
    assert stage.connects() == 1
    assert stage.reuses() == 1


def test_another_clients_request_takes_it_too(stage: Stage) -> None:
    _, upstream = stage.warm()
    other = stage.ask()
    assert upstream.take().startswith(b"GET / ")
    stage.answer()
    assert other.take() == OK


def test_no_task_and_no_dial_on_a_warm_connection(stage: Stage) -> None:
    """Everything happens in the data callback: the request is out before the loop runs."""
    client, upstream = stage.warm()
    client.receive(GET)
    assert upstream.take().startswith(b"GET / ")
    upstream.receive(OK)
    assert client.take() == OK
    assert len(stage.loop.dials) == 1


ENDINGS = {
    "closed while idle": lambda upstream: upstream.receive_eof(),
    "reset while idle": lambda upstream: upstream.lose(ConnectionResetError()),
    "data while idle": lambda upstream: upstream.receive(OK),
    "a 408 while idle": lambda upstream: upstream.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_a_connection_that_ended_while_idle_is_not_taken(stage: Stage, case: str) -> None:
    client, upstream = stage.warm()
    ENDINGS[case](upstream)
    stage.settle()
    assert upstream.is_closing()
    assert stage.idle == 0
    assert stage.closes() == {"unexpected_data" if "data" in case or "408" in case else "upstream_closed": 1}
    stage.ask(client=client)
    assert stage.connects() == 2
    stage.answer()
    assert client.take() == OK


def test_a_connection_that_is_closing_is_not_taken(stage: Stage) -> None:
    """The FIN has been read, the transport closes itself, and connection_lost is still to come."""
    client, upstream = stage.warm()
    upstream.receive_eof()
    stage.ask(client=client)
    assert stage.connects() == 2
    stage.answer()
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
def test_surplus_reaches_no_other_exchange(stage: Stage, case: str, split: int | None) -> None:
    response = SURPLUS[case]
    client, upstream = stage.warm()
    client.receive(GET + GET)
    for piece in [response] if split is None else [response[:split], response[split:]]:
        upstream.receive(piece)
    stage.settle()
    sent = client.take()
    assert sent.count(b"HTTP/1.1 ") == 1
    assert upstream.aborted
    assert stage.connects() == 2  # the second request has gone to a fresh one
    stage.answer()
    assert client.take() == OK
    assert stage.idle == 1


def test_surplus_after_a_head_response(stage: Stage) -> None:
    client = stage.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.answer(OK)  # with the body that HEAD must not have
    assert body_of(client.take()) == b""
    assert stage.upstream.aborted


# --- stale: the upstream closes an idle connection just as it is taken


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_stale_connection_an_idempotent_request_goes_again(stage: Stage, method: bytes, reset: bool) -> None:
    client, upstream = stage.warm()
    client.receive(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    first = upstream.take()
    upstream.lose(ConnectionResetError() if reset else None)
    stage.settle()
    assert stage.upstream is not upstream
    assert stage.upstream.take() == first  # the request id too: it is the same request
    stage.answer(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n")
    assert status_of(client.take()) == 204
    assert stage.retries() == {"stale_connection": 1}
    assert stage.logged()["attempts"] == 2
    assert stage.logged()["reused"] is False


def test_stale_connection_again_on_a_fresh_one_though_others_are_idle(stage: Stage) -> None:
    """A second idle one might be just as stale."""
    one, two = stage.ask(), stage.ask()
    for upstream in stage.loop.transports:
        upstream.receive(OK)
    assert stage.idle == 2
    one.take(), two.take()
    one.receive(GET)
    stage.upstream.lose()
    stage.settle()
    assert stage.connects() == 3
    stage.answer()
    assert one.take() == OK


def test_a_fresh_connection_that_closes_is_not_stale(stage: Stage) -> None:
    client = stage.ask()
    stage.upstream.receive_eof()
    stage.settle()
    assert status_of(client.take()) == 502
    assert stage.retries() == {}
    assert stage.connects() == 1


NEVER_TWICE = {
    "POST": POST,
    "POST without a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "PATCH": b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("case", NEVER_TWICE)
def test_stale_connection_what_is_not_idempotent_is_never_sent_twice(
    make_stage: MakeStage, case: str
) -> None:
    stage = make_stage(2)
    client = stage.ask()
    stage.answer()
    other = stage.ask()
    stage.answer()
    client.take(), other.take()
    client.receive(NEVER_TWICE[case])
    taken = next(upstream for upstream in stage.loop.transports if upstream.take().count(b"\r\n\r\n") == 2
                 or upstream.protocol.reader is not None)  # type: ignore[attr-defined]  # fmt: skip
    taken.lose()
    stage.settle()
    assert status_of(client.take()) == 502
    method = NEVER_TWICE[case].split(b" ")[0]
    assert sum(upstream.written.count(method + b" /") for upstream in stage.loop.transports) == 1
    assert stage.local_counted("upstream_closed") == 1


def test_not_again_once_the_response_has_begun(stage: Stage) -> None:
    client, upstream = stage.warm()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nab")
    upstream.lose()
    stage.settle()
    assert body_of(client.take()) == b"ab"
    assert client.aborted
    assert stage.connects() == 1


def test_stale_connection_and_nobody_there_any_more(stage: Stage) -> None:
    client, upstream = stage.warm()
    stage.refuse(1)
    client.receive(GET)
    upstream.lose()
    stage.settle()
    assert status_of(client.take()) == 502
    assert stage.local_counted("connect_refused") == 1
    assert stage.local_counted("upstream_closed") == 0


# --- limits on a connection's life


def test_max_requests_ends_a_connection(make_stage: MakeStage) -> None:
    stage = make_stage(keepalive={"max_requests": 2})
    client = stage.client()
    for _ in range(4):
        stage.ask(client=client)
        stage.answer()
        assert client.take() == OK
    assert stage.connects() == 2
    assert stage.closes() == {"max_requests": 2}


def test_the_cap_on_idle_connections_counts_idle_ones_only(make_stage: MakeStage) -> None:
    """With active ones present: a busy upstream would else keep none, and dial for every request."""
    stage = make_stage(keepalive={"max_idle": 2})
    for _ in range(6):
        stage.ask()
    first, second, third, *active = stage.loop.transports
    for upstream in (first, second):
        upstream.receive(OK)
    stage.settle()
    assert (stage.inflight, stage.idle, stage.closes()) == ([4], 2, {})
    third.receive(OK)
    stage.settle()
    assert (stage.inflight, stage.idle, stage.closes()) == ([3], 2, {"max_idle": 1})
    stage.ask()
    assert (stage.connects(), stage.reuses()) == (6, 1)
    for upstream in (*active, second):
        upstream.receive(OK)
    stage.settle()
    assert (stage.idle, stage.closes()) == (2, {"max_idle": 4})


def test_idle_timeout_is_held_by_the_sweep(stage: Stage) -> None:
    _, upstream = stage.warm()
    stage.advance(3.9)
    assert not upstream.is_closing()
    stage.advance(0.2)
    assert upstream.is_closing()
    assert stage.closes() == {"idle_timeout": 1}


def test_a_new_address_ends_all_connections_to_the_old_one(stage: Stage) -> None:
    client, idle = stage.warm()
    busy_client = stage.ask(client=client)
    other = stage.ask()
    busy, fresh = stage.loop.transports
    assert busy is idle
    fresh.receive(OK)
    assert other.take() == OK
    stage.move(1, "10.0.0.77")
    assert fresh.is_closing()
    assert not busy.is_closing()
    busy.receive(OK)
    assert busy_client.take() == OK
    assert busy.is_closing()
    stage.ask(client=client)
    assert stage.dialled[-1] == "10.0.0.77"
    stage.answer()
