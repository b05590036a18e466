"""Requests that come back get 508 at the first return; the upstream that leads back is logged and ejected."""

import json

import pytest

from balancer.messages import CameBack
from tests.fakes.wire import CLIENT_ADDRESS, VIA
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, Harness, body_of, head_of, status_of

NAME = VIA.encode()
BACK = b"GET /x HTTP/1.1\r\nHost: a\r\nVia: 1.1 cdn, 1.1 %b (ours)\r\n\r\n" % NAME
OUTLIER = {"enabled": True, "consecutive_5xx": 5, "consecutive_failures": 3}


def loops(harness: Harness) -> list[CameBack]:
    return [message for message in harness.told if isinstance(message, CameBack)]


def test_a_request_that_comes_back_gets_508_without_an_upstream(harness: Harness) -> None:
    client = harness.ask(BACK)
    answer = client.take()
    assert status_of(answer) == 508
    assert head_of(answer)[:2] == [
        b"HTTP/1.1 508 Loop Detected",
        b'Proxy-Status: balancer; error=proxy_loop_detected; details="loop_detected"',
    ]
    assert NAME in body_of(answer)
    assert harness.dialled == []
    assert harness.local_counted("loop_detected") == 1
    assert harness.requests_counted(b"GET", 508) == 1
    logged = harness.logged()
    assert (logged["status"], logged["reason"], logged["upstream"]) == (508, "loop_detected", None)
    (failure,) = harness.proxy.take_failures()
    assert (failure.reason, failure.source, failure.target) == ("loop_detected", "balancer", "/x")


def test_the_connection_stays_open_and_later_loops_are_found_too(harness: Harness) -> None:
    client = harness.ask(BACK)
    assert not client.is_closing()
    client.take()
    for _ in range(2):  # byte for byte the same, so it is not parsed again
        harness.ask(BACK, client)
        assert status_of(client.take()) == 508
    harness.ask(GET, client)
    harness.answer()
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"Content-Length: 3\r\n\r\nabc", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", id="trailers"),
    ],
)
def test_a_loop_with_a_body_is_answered_508(harness: Harness, request_bytes: bytes) -> None:
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nVia: 1.1 %b\r\n%b" % (NAME, request_bytes))
    assert status_of(client.take()) == 508
    assert harness.dialled == []


def test_a_loop_with_an_incomplete_body_closes_the_connection(harness: Harness) -> None:
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nVia: 1.1 %b\r\nContent-Length: 9\r\n\r\nabc" % NAME)
    answer = client.take()
    assert status_of(answer) == 508
    assert b"Connection: close" in head_of(answer)


def test_a_looping_tunnel_is_answered_508(harness: Harness) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\n%bVia: 1.1 %b\r\n\r\n" % (upgrade, NAME))
    assert status_of(client.take()) == 508


def test_the_balancer_recognises_its_own_via(harness: Harness) -> None:
    harness.ask()
    sent = harness.upstream.take()
    harness.answer()
    assert b"\r\nVia: 1.1 %b\r\n" % NAME in sent
    assert status_of(harness.ask(sent).take()) == 508


def test_another_balancer_in_front_is_no_loop(harness: Harness) -> None:
    client = harness.client()
    for _ in range(3):
        harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 balancer-89abcdef\r\n\r\n", client)
        sent = harness.upstream.take()
        assert b"\r\nVia: 1.1 balancer-89abcdef\r\n" in sent
        assert b"\r\nVia: 1.1 %b\r\n" % NAME in sent
        harness.answer()
        assert status_of(client.take()) == 200


def test_without_via_loops_are_not_found(make_harness: MakeHarness) -> None:
    harness = make_harness(via="")
    client = harness.ask(BACK)
    sent = harness.upstream.take()
    assert [line for line in head_of(sent) if line.lower().startswith(b"via")] == [
        b"Via: 1.1 cdn, 1.1 %b (ours)" % NAME
    ]
    harness.answer()
    assert status_of(client.take()) == 200


def test_loops_are_logged_once_a_minute(harness: Harness) -> None:
    for _ in range(50):
        harness.ask(BACK)
        harness.advance(1.0)
    assert len(loops(harness)) == 1
    harness.advance(11.0)
    harness.ask(BACK)
    first, second = loops(harness)
    assert first == second
    assert (first.pool, first.upstream) == ("default", None)
    assert first.text.startswith(
        f"a request looped back to this balancer from {CLIENT_ADDRESS} (its Via names {VIA})"
    )


def our_508(harness: Harness) -> bytes:
    answer = harness.ask(BACK).take()
    harness.told.clear()
    return answer


def test_an_upstream_that_leads_back_is_named_and_ejected(make_harness: MakeHarness) -> None:
    harness = make_harness(2, outlier=OUTLIER, keepalive={"max_idle": 0})
    answer = our_508(harness)
    for _ in range(10):
        harness.ask()
        harness.answer(answer if harness.dialled[-1] == "10.0.0.1" else OK_NOW)
    assert [one.is_outlier() for one in harness.upstreams] == [True, False]
    (told,) = loops(harness)
    assert told.upstream == "app1:8000"
    assert told.text.startswith("app1:8000 points back to this balancer")


def test_a_508_of_another_balancer_does_not_eject(make_harness: MakeHarness) -> None:
    # Anyone who knows that balancer's name can provoke it.
    harness = make_harness(2, outlier=OUTLIER, keepalive={"max_idle": 0})
    answer = our_508(harness).replace(NAME, b"balancer-89abcdef")
    for _ in range(10):
        client = harness.ask()
        harness.answer(answer if harness.dialled[-1] == "10.0.0.1" else OK_NOW)
        assert status_of(client.take()) in (508, 200)
    assert [one.is_outlier() for one in harness.upstreams] == [False, False]
    assert loops(harness) == []


OK_NOW = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_508_in_json_has_its_reason(harness: Harness) -> None:
    answer = harness.ask(BACK.replace(b"\r\n\r\n", b"\r\nAccept: application/json\r\n\r\n")).take()
    told = json.loads(body_of(answer))
    assert (told["status"], told["reason"]) == (508, "loop_detected")
    assert VIA in told["message"]
