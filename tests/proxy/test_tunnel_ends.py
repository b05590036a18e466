"""How tunnels end: each side ends its own direction; the other one goes on until its end, or for `idle`."""

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import Stage, status_of
from tests.proxy.test_tunnel import SWITCH, UPGRADE

SIDES = ["client", "upstream"]
either = pytest.mark.parametrize("side", SIDES)


def tunnel(stage: Stage, client: FakeTransport | None = None) -> FakeTransport:
    """The client of a new tunnel, in which nothing has been said yet."""
    client = stage.ask(UPGRADE, client)
    stage.answer(SWITCH)
    client.take()
    stage.upstream.take()
    return client


def ends(stage: Stage, client: FakeTransport, side: str) -> tuple[FakeTransport, FakeTransport]:
    """`side` of a tunnel, and the other one."""
    return (client, stage.upstream) if side == "client" else (stage.upstream, client)


# --- a FIN is the end of one direction


@either
def test_a_fin_is_passed_on_and_the_other_direction_goes_on(stage: Stage, side: str) -> None:
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.receive(b"close frame")
    one.receive_eof()
    stage.settle()
    assert (other.take(), other.eof_written) == (b"close frame", True)
    assert not one.is_closing()
    assert not other.is_closing()
    assert stage.tunnels == 1
    assert stage.inflight == [1]
    other.receive(b"last ")
    stage.advance(50)
    other.receive(b"words")
    assert one.take() == b"last words"
    other.receive_eof()
    stage.settle()
    assert one.closed
    assert other.closed
    assert not one.aborted
    assert not other.aborted
    assert stage.tunnels == 0
    assert stage.inflight == [0]
    assert stage.closes() == {"tunnel_ended": 1}
    record = stage.logged()
    assert (record["status"], record["reason"]) == (101, None)
    sizes = {"client": (11, 10), "upstream": (10, 11)}
    assert (record["request_bytes"], record["response_bytes"]) == sizes[side]
    assert stage.requests_counted(b"GET", 101) == 1


@either
def test_a_fin_is_passed_on_behind_what_was_read_with_it(stage: Stage, side: str) -> None:
    """And a slow end is given all of it first: its transport sends the FIN when it has sent the rest."""
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    other.pause_writing()
    one.receive(b"words")
    one.receive_eof()
    assert not other.eof_written  # it waits, as `one` is not read
    other.resume_writing()
    stage.settle()
    assert (other.take(), other.eof_written) == (b"words", True)
    assert not one.is_closing()


@either
def test_back_pressure_in_the_direction_that_goes_on(stage: Stage, side: str) -> None:
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.receive_eof()
    one.pause_writing()
    assert not other.reading
    other.receive(b"last words")
    other.receive_eof()
    one.resume_writing()
    stage.settle()
    assert one.take() == b"last words"
    assert one.closed
    assert stage.tunnels == 0


@either
def test_an_end_that_was_slow_is_not_read_again_after_its_fin(stage: Stage, side: str) -> None:
    """uvloop would read the FIN once more."""
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.receive_eof()
    other.pause_writing()
    other.resume_writing()
    stage.settle()
    assert one.eofs == 1
    other.receive(b"last words")
    assert one.take() == b"last words"


@either
def test_a_connection_that_cannot_be_half_closed_is_closed(
    stage: Stage, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of TLS."""
    monkeypatch.setattr(FakeTransport, "can_write_eof", lambda _: False)
    client = tunnel(stage)
    one, _ = ends(stage, client, side)
    one.receive_eof()
    stage.settle()
    assert client.closed
    assert stage.upstream.closed
    assert stage.tunnels == 0


def test_a_fin_before_the_tunnel_means_that_the_client_left(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    client.receive_eof()
    stage.settle()
    assert stage.upstream.aborted
    assert stage.logged()["status"] == 499


def test_a_fin_right_behind_the_101(stage: Stage) -> None:
    client = stage.ask(UPGRADE)
    stage.upstream.receive(SWITCH + b"hello")
    stage.upstream.receive_eof()
    stage.settle()
    sent = client.take()
    assert status_of(sent) == 101
    assert sent.endswith(b"hello")
    assert client.eof_written
    client.receive(b"bye")
    assert stage.upstream.take().endswith(b"bye")
    client.receive_eof()
    stage.settle()
    assert stage.tunnels == 0


# --- a plain close looks the same, so the other direction has less time


@either
def test_after_a_fin_the_other_direction_has_the_idle_timeout(make_stage: MakeStage, side: str) -> None:
    stage = make_stage(timeouts={"idle": 60.0, "tunnel_idle": 3600.0})
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    stage.advance(100)  # tunnel_idle, so far
    one.receive_eof()
    for _ in range(3):
        stage.advance(59)
        other.receive(b"x")
    stage.advance(59.9)
    assert stage.tunnels == 1
    stage.advance(0.2)
    assert stage.tunnels == 0
    assert client.closed
    assert stage.upstream.closed
    assert stage.logged()["reason"] is None


@either
def test_also_where_it_is_the_longer_one(make_stage: MakeStage, side: str) -> None:
    stage = make_stage(timeouts={"idle": 60.0, "tunnel_idle": 5.0})
    one, _ = ends(stage, tunnel(stage), side)
    one.receive_eof()
    stage.advance(59.9)
    assert stage.tunnels == 1
    stage.advance(0.2)
    assert stage.tunnels == 0


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half closed"])
def test_an_upstream_that_takes_some_of_what_was_written_is_not_silent(
    make_stage: MakeStage, half_closed: bool
) -> None:
    stage = make_stage(timeouts={"idle": 60.0, "tunnel_idle": 60.0})
    client = tunnel(stage)
    client.receive(b"much")
    if half_closed:
        client.receive_eof()
    stage.upstream.pause_writing(100_000)
    for left in (80_000, 70_000, 10):
        stage.advance(59.9)
        stage.upstream.buffered = left
        stage.advance(0.2)
        assert stage.tunnels == 1
    stage.advance(60.3)
    assert stage.tunnels == 0


def test_the_end_of_the_drain_time_ends_half_a_tunnel_too(stage: Stage) -> None:
    client = tunnel(stage)
    client.receive_eof()
    stage.proxy.drain()
    stage.advance(5)
    assert stage.tunnels == 1
    stage.proxy.abort_all()
    stage.settle()
    assert stage.tunnels == 0
    assert client.is_closing()


# --- a reset is the end of both


@either
def test_a_reset_ends_it(stage: Stage, side: str) -> None:
    client = tunnel(stage)
    client.receive(b"request")
    stage.upstream.receive(b"response")
    one, other = ends(stage, client, side)
    one.lose(ConnectionResetError())
    stage.settle()
    assert other.closed
    assert not other.aborted  # what was written still goes out
    assert client.take() == b"response"
    assert stage.upstream.take() == b"request"
    assert stage.tunnels == 0
    assert stage.closes() == {"tunnel_ended": 1}
    assert (stage.logged()["status"], stage.logged()["reason"]) == (101, None)


@either
@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError()], ids=["reset", "after a FIN"])
def test_what_had_come_before_a_reset_that_a_write_met_goes_out(
    stage: Stage, side: str, error: Exception
) -> None:
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.lose(error, unread=b"close frame")
    stage.settle()
    assert other.take() == b"close frame"
    assert other.closed
    assert stage.tunnels == 0


def test_the_101_may_be_among_the_last_words(stage: Stage) -> None:
    client = stage.ask(UPGRADE + b"early")
    stage.upstream.lose(BrokenPipeError(), SWITCH + b"bye")
    stage.settle()
    assert client.take().endswith(b"\r\n\r\nbye")
    assert client.closed
    assert stage.tunnels == 0


@either
def test_a_reset_that_was_read_as_a_fin_ends_it(stage: Stage, side: str) -> None:
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.receive_reset(b"close frame")
    stage.settle()
    assert other.take() == b"close frame"
    assert other.closed
    assert stage.tunnels == 0


@either
def test_a_reset_after_a_fin_ends_it(stage: Stage, side: str) -> None:
    one, other = ends(stage, tunnel(stage), side)
    one.receive_eof()
    one.lose(BrokenPipeError())
    stage.settle()
    assert other.closed
    assert stage.tunnels == 0
