"""WebSocket upgrades: after the 101, bytes pass unchanged in both directions."""

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, head_of, status_of

FIELDS = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\n" + FIELDS + b"Sec-WebSocket-Key: k\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_an_upgrade_is_forwarded_and_accepted(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    lines = head_of(harness.upstream.take())
    assert {b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k"} <= set(lines)
    harness.answer(SWITCH)
    lines = head_of(client.take())
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert {b"Connection: Upgrade", b"Upgrade: websocket"} <= set(lines)
    assert harness.tunnels == 1


def test_bytes_pass_both_ways(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.upstream.take()
    harness.answer(SWITCH)
    client.take()
    client.receive(b"\x81\x02hi")
    assert harness.upstream.take() == b"\x81\x02hi"
    harness.upstream.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert client.take() == b"GET / HTTP/1.1\r\n\r\n"
    client.receive(b"\r\n\r\n")
    assert harness.upstream.take() == b"\r\n\r\n"


def test_read_ahead_bytes_belong_to_the_tunnel(harness: Harness) -> None:
    client = harness.ask(UPGRADE + b"early")
    client.receive(b" bird")
    assert not harness.upstream.take().endswith(b"bird")
    harness.answer(SWITCH + b"worm")
    assert client.take().endswith(b"\r\n\r\nworm")
    assert harness.upstream.take() == b"early bird"


def test_many_read_ahead_bytes_belong_to_the_tunnel(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.upstream.take()
    client.receive(b"x" * 70_000)
    assert not client.reading
    harness.answer(SWITCH)
    assert client.reading
    assert harness.upstream.take() == b"x" * 70_000


def test_a_tunnel_has_its_own_idle_timeout(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={"tunnel_idle": 100.0, "total": 1.0})
    client = harness.ask(UPGRADE)
    harness.answer(SWITCH)
    for side in (client, harness.upstream, client):
        harness.advance(99)
        side.receive(b"x")
    harness.advance(99.9)
    assert not client.is_closing()
    harness.advance(0.2)
    assert client.is_closing()
    assert harness.upstream.is_closing()


@pytest.mark.parametrize("slow", ["client", "upstream"])
def test_a_slow_end_pauses_the_other(harness: Harness, slow: str) -> None:
    client = harness.ask(UPGRADE)
    harness.answer(SWITCH)
    harness.upstream.take()
    client.take()
    end, other = (client, harness.upstream) if slow == "client" else (harness.upstream, client)
    end.pause_writing()
    assert not other.reading
    other.receive(b"later")
    assert end.take() == b""
    end.resume_writing()
    harness.settle()
    assert other.reading
    assert end.take() == b"later"
    harness.advance(3599)  # the tunnel's own idle timeout, not that of a body
    assert not client.is_closing()


def test_no_exchange_follows_a_tunnel(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.answer(SWITCH)
    harness.upstream.lose()
    harness.settle()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.settle()
    assert harness.connects() == 1


# --- without a tunnel


def test_a_declined_upgrade_is_a_normal_response(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.answer(OK)
    assert client.take() == OK
    assert not client.is_closing()
    assert harness.idle == 1


def test_read_ahead_bytes_after_a_declined_upgrade_are_the_next_request(harness: Harness) -> None:
    """There is no tunnel, so the bytes that the client sent meanwhile are its next request."""
    client = harness.ask(UPGRADE + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.upstream.take()
    harness.answer(OK)
    assert client.take() == OK
    assert harness.upstream.take().startswith(b"GET /next ")
    harness.answer()


NO_UPGRADE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "not nominated": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("case", NO_UPGRADE)
def test_other_upgrades_are_stripped(harness: Harness, case: str) -> None:
    client = harness.ask(NO_UPGRADE[case])
    lines = [line.lower() for line in head_of(harness.upstream.take())]
    assert not [line for line in lines if line.startswith((b"upgrade", b"connection"))]
    harness.answer(SWITCH)  # unasked: refused
    assert status_of(client.take()) == 502
    assert harness.local_counted("upgrade_failed") == 1
    assert harness.tunnels == 0


def test_an_upgrade_is_retried_if_nothing_was_sent(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.refuse(1)
    client = harness.ask(UPGRADE + b"early")
    harness.upstream.take()
    harness.answer(SWITCH)
    assert status_of(client.take()) == 101
    assert harness.upstream.take() == b"early"


class Small(FakeTransport):
    """An upstream that reads nothing: a write makes it ask for a pause, as a full buffer does."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.pause_writing(buffered=self.buffered + len(data))


def test_read_ahead_bytes_can_fill_the_upstreams_buffer(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    client.receive(b"x" * 100_000)  # more than is read ahead: reading pauses
    assert not client.is_reading()
    harness.upstream.__class__ = Small
    harness.answer(SWITCH)
    assert not client.is_reading()
    harness.upstream.resume_writing()
    harness.settle()
    assert client.is_reading()
    assert harness.upstream.take().endswith(b"x" * 100_000)
    harness.upstream.lose()
    harness.settle()


def test_an_upstream_that_reads_nothing_after_the_tunnels_end_is_cut(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.answer(SWITCH)
    harness.upstream.pause_writing(buffered=300_000)
    client.lose(ConnectionResetError())
    harness.settle()
    assert harness.upstream.closed
    assert not harness.upstream.aborted
    harness.advance(10.3)
    assert harness.upstream.aborted
