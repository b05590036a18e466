"""WebSocket upgrades: after 101 bytes pass as they come, in both directions."""

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import OK, Stage, head_of, status_of

FIELDS = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\n" + FIELDS + b"Sec-WebSocket-Key: k\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_the_upgrade_is_asked_for_and_agreed_on(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    lines = head_of(stage.upstream.take())
    assert {b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k"} <= set(lines)
    stage.answer(SWITCH)
    lines = head_of(client.take())
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert {b"Connection: Upgrade", b"Upgrade: websocket"} <= set(lines)
    assert stage.tunnels == 1


def test_bytes_pass_both_ways(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.upstream.take()
    stage.answer(SWITCH)
    client.take()
    client.receive(b"\x81\x02hi")
    assert stage.upstream.take() == b"\x81\x02hi"
    stage.upstream.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert client.take() == b"GET / HTTP/1.1\r\n\r\n"
    client.receive(b"\r\n\r\n")
    assert stage.upstream.take() == b"\r\n\r\n"


def test_what_was_read_ahead_belongs_to_the_tunnel(stage: Stage) -> None:
    client = stage.ask(UPGRADE + b"early")
    client.receive(b" bird")
    assert not stage.upstream.take().endswith(b"bird")
    stage.answer(SWITCH + b"worm")
    assert client.take().endswith(b"\r\n\r\nworm")
    assert stage.upstream.take() == b"early bird"


def test_much_that_was_read_ahead(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.upstream.take()
    client.receive(b"x" * 70_000)
    assert not client.reading
    stage.answer(SWITCH)
    assert client.reading
    assert stage.upstream.take() == b"x" * 70_000


def test_idle_timeout(make_stage: MakeStage) -> None:
    stage = make_stage(timeouts={"tunnel_idle": 100.0, "total": 1.0})
    client = stage.ask(UPGRADE)
    stage.answer(SWITCH)
    for side in (client, stage.upstream, client):
        stage.advance(99)
        side.receive(b"x")
    stage.advance(99.9)
    assert not client.is_closing()
    stage.advance(0.2)
    assert client.is_closing()
    assert stage.upstream.is_closing()


@pytest.mark.parametrize("slow", ["client", "upstream"])
def test_a_slow_end_pauses_the_other(stage: Stage, slow: str) -> None:
    client = stage.ask(UPGRADE)
    stage.answer(SWITCH)
    stage.upstream.take()
    client.take()
    end, other = (client, stage.upstream) if slow == "client" else (stage.upstream, client)
    end.pause_writing()
    assert not other.reading
    other.receive(b"later")
    assert end.take() == b""
    end.resume_writing()
    stage.settle()
    assert other.reading
    assert end.take() == b"later"
    stage.advance(3599)  # the tunnel's own idle time, not that of a body
    assert not client.is_closing()


def test_no_exchange_follows_a_tunnel(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.answer(SWITCH)
    stage.upstream.lose()
    stage.settle()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.settle()
    assert stage.connects() == 1


# --- where there is no tunnel


def test_an_upstream_that_declines_just_answers(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.answer(OK)
    assert client.take() == OK
    assert not client.is_closing()
    assert stage.idle == 1


def test_a_declined_upgrade_and_what_was_read_ahead(stage: Stage) -> None:
    """It was no tunnel, so what the client sent meanwhile is its next request."""
    client = stage.ask(UPGRADE + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.upstream.take()
    stage.answer(OK)
    assert client.take() == OK
    assert stage.upstream.take().startswith(b"GET /next ")
    stage.answer()


NO_UPGRADE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "not nominated": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("case", NO_UPGRADE)
def test_other_upgrades_are_stripped(stage: Stage, case: str) -> None:
    client = stage.ask(NO_UPGRADE[case])
    lines = [line.lower() for line in head_of(stage.upstream.take())]
    assert not [line for line in lines if line.startswith((b"upgrade", b"connection"))]
    stage.answer(SWITCH)  # unasked: refused
    assert status_of(client.take()) == 502
    assert stage.local_counted("upgrade_failed") == 1
    assert stage.tunnels == 0


def test_an_upgrade_is_retried_where_nothing_was_sent(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.refuse(1)
    client = stage.ask(UPGRADE + b"early")
    stage.upstream.take()
    stage.answer(SWITCH)
    assert status_of(client.take()) == 101
    assert stage.upstream.take() == b"early"


class Small(FakeTransport):
    """An upstream that takes nothing: a write makes it ask for a pause, as a full buffer does."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.pause_writing(buffered=self.buffered + len(data))


def test_what_was_read_ahead_can_fill_the_upstream(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    client.receive(b"x" * 100_000)  # more than is read ahead: reading pauses
    assert not client.is_reading()
    stage.upstream.__class__ = Small
    stage.answer(SWITCH)
    assert not client.is_reading()
    stage.upstream.resume_writing()
    stage.settle()
    assert client.is_reading()
    assert stage.upstream.take().endswith(b"x" * 100_000)
    stage.upstream.lose()
    stage.settle()


def test_an_upstream_that_takes_nothing_after_the_tunnels_end_is_cut(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.answer(SWITCH)
    stage.upstream.pause_writing(buffered=300_000)
    client.lose(ConnectionResetError())
    stage.settle()
    assert stage.upstream.closed
    assert not stage.upstream.aborted
    stage.advance(10.3)
    assert stage.upstream.aborted
