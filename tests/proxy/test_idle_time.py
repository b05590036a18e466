"""Requests around the time at which an app closes idle connections."""

import pytest

from balancer.messages import LogLine
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


def learn(harness: Harness) -> None:
    """Two connections are closed after half a second each."""
    for _ in range(2):
        _, upstream = harness.warm()
        harness.advance(0.5)
        upstream.receive_eof()
        harness.settle()
        harness.advance(1)
    (told,) = harness.only_told(LogLine)
    assert (told.level, told.once) == ("info", "idle timeout of app1:8000")
    assert told.message.startswith("upstream app1:8000 closes idle connections after 0.5 s")


FRESH = [
    pytest.param(GET, 0.39, False, id="GET below"),
    pytest.param(GET, 0.41, True, id="GET near"),
    pytest.param(POST, 0.24, False, id="POST well below"),
    pytest.param(POST, 0.26, True, id="POST below"),
    pytest.param(POST, 0.49, True, id="POST near"),
]


@pytest.mark.parametrize(("request_bytes", "idle", "fresh"), FRESH)
def test_near_the_learned_idle_time_a_request_gets_a_fresh_connection(
    harness: Harness, request_bytes: bytes, idle: float, fresh: bool
) -> None:
    learn(harness)
    client, _ = harness.warm()
    connects = harness.connects()
    harness.advance(idle, sweep=False)
    harness.ask(request_bytes, client)
    assert harness.connects() == connects + fresh
    harness.answer()
    assert client.take() == OK


def test_without_a_learned_idle_time_requests_use_idle_connections(make_harness: MakeHarness) -> None:
    harness = make_harness(keepalive={"learn": False})
    for _ in range(3):
        _, upstream = harness.warm()
        harness.advance(0.5)
        upstream.receive_eof()
        harness.settle()
        harness.advance(1)
    client, _ = harness.warm()
    connects = harness.connects()
    harness.advance(0.49)
    harness.ask(POST, client)
    assert harness.connects() == connects
    harness.answer()
    assert status_of(client.take()) == 200


def test_an_upstream_that_changes_its_address_keeps_its_learned_idle_time(harness: Harness) -> None:
    """It is the same app with the same settings; if not, a connection that outlives the time refutes it."""
    learn(harness)
    harness.move(1, "10.0.0.9")
    client, _ = harness.warm()
    connects = harness.connects()
    harness.advance(0.3, sweep=False)
    harness.ask(POST, client)
    assert harness.connects() == connects + 1
    harness.answer()
