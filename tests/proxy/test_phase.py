"""The phases of an exchange, as the proxy passes through them, and what their table says."""

import pytest

from balancer.clients.connection import ClientConnection
from balancer.errors import Source
from balancer.proxy.phase import RULES, Limit, Phase, phase_of
from tests.fakes.transport import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, Harness

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"


def phase(client: FakeTransport) -> Phase:
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    assert connection.exchange.active
    return phase_of(connection.exchange)


def test_every_phase_has_its_rule() -> None:
    assert RULES.keys() == set(Phase)


def test_a_phase_that_ends_in_a_failure_says_what_was_lacking() -> None:
    for rule in RULES.values():
        assert bool(rule.failure) is bool(rule.lack)
        assert rule.failure is None or rule.failure.source is rule.blames
        assert (rule.limit is Limit.NONE) is (rule.blames is Source.BALANCER)


def test_a_plain_request(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask(GET)
    assert phase(client) is Phase.DIALLING
    harness.loop.dials[-1].accept()
    harness.settle()
    assert phase(client) is Phase.AWAITING
    harness.answer(PART)
    assert phase(client) is Phase.RELAYING
    client.pause_writing()
    assert phase(client) is Phase.UNREAD
    client.resume_writing()
    assert phase(client) is Phase.RELAYING


def test_an_upload(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask(UPLOAD + b"abc")
    assert phase(client) is Phase.DIALLING_EARLY
    harness.loop.dials[-1].accept()
    harness.settle()
    assert phase(client) is Phase.UPLOADING
    harness.upstream.pause_writing()
    assert phase(client) is Phase.UNTAKEN
    harness.upstream.resume_writing()
    assert phase(client) is Phase.UPLOADING
    harness.answer(PART)
    assert phase(client) is Phase.DUPLEX
    harness.upstream.pause_writing()
    assert phase(client) is Phase.RELAYING
    harness.upstream.resume_writing()
    client.receive(b"defghij")
    assert phase(client) is Phase.RELAYING


def test_a_client_that_waits_for_100(harness: Harness) -> None:
    client = harness.ask(EXPECT)
    assert phase(client) is Phase.EXPECTING
    harness.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert phase(client) is Phase.UPLOADING


def test_a_tunnel(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    assert phase(client) is Phase.AWAITING
    harness.answer(SWITCHING)
    assert phase(client) is Phase.TUNNEL


def test_a_wait_in_the_queue(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 10})
    harness.limit(1)
    first = harness.ask(GET)
    client = harness.ask(GET)
    assert phase(client) is Phase.QUEUED
    harness.answer()
    assert first.take().endswith(b"ok")
    assert phase(client) is Phase.AWAITING


@pytest.mark.parametrize("one", [Phase.DUPLEX, Phase.UNREAD, Phase.UPLOADING], ids=lambda one: one.name)
def test_where_the_client_is_slow_no_upstream_is_blamed(one: Phase) -> None:
    assert RULES[one].blames is Source.CLIENT
