"""How tunnels end: each side ends its own direction; the other goes on until its end, or for `idle`."""

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness, status_of
from tests.proxy.test_tunnel import SWITCH, UPGRADE

SIDES = ["client", "upstream"]
either = pytest.mark.parametrize("side", SIDES)


def tunnel(harness: Harness, client: FakeTransport | None = None) -> FakeTransport:
    """The client of a new tunnel without any bytes yet."""
    client = harness.ask(UPGRADE, client)
    harness.answer(SWITCH)
    client.take()
    harness.upstream.take()
    return client


def ends(harness: Harness, client: FakeTransport, side: str) -> tuple[FakeTransport, FakeTransport]:
    """`side` of a tunnel, and the other side."""
    return (client, harness.upstream) if side == "client" else (harness.upstream, client)


# --- a FIN is the end of one direction


@either
def test_a_fin_is_passed_on_and_the_other_direction_goes_on(harness: Harness, side: str) -> None:
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.receive(b"close frame")
    one.receive_eof()
    harness.settle()
    assert (other.take(), other.eof_written) == (b"close frame", True)
    assert not one.is_closing()
    assert not other.is_closing()
    assert harness.tunnels == 1
    assert harness.inflight == [1]
    other.receive(b"last ")
    harness.advance(50)
    other.receive(b"words")
    assert one.take() == b"last words"
    other.receive_eof()
    harness.settle()
    assert one.closed
    assert other.closed
    assert not one.aborted
    assert not other.aborted
    assert harness.tunnels == 0
    assert harness.inflight == [0]
    assert harness.closes() == {"tunnel_ended": 1}
    record = harness.logged()
    assert (record["status"], record["reason"]) == (101, None)
    sizes = {"client": (11, 10), "upstream": (10, 11)}
    assert (record["request_bytes"], record["response_bytes"]) == sizes[side]
    assert harness.requests_counted(b"GET", 101) == 1


@either
def test_a_fin_is_passed_on_behind_the_bytes_read_with_it(harness: Harness, side: str) -> None:
    """A slow end gets all of it first: its transport sends the FIN after the rest."""
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    other.pause_writing()
    one.receive(b"words")
    one.receive_eof()
    assert not other.eof_written  # it waits, as `one` is not read
    other.resume_writing()
    harness.settle()
    assert (other.take(), other.eof_written) == (b"words", True)
    assert not one.is_closing()


@either
def test_back_pressure_in_the_direction_that_goes_on(harness: Harness, side: str) -> None:
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.receive_eof()
    one.pause_writing()
    assert not other.reading
    other.receive(b"last words")
    other.receive_eof()
    one.resume_writing()
    harness.settle()
    assert one.take() == b"last words"
    assert one.closed
    assert harness.tunnels == 0


@either
def test_a_slow_end_is_not_read_again_after_its_fin(harness: Harness, side: str) -> None:
    """uvloop would read the FIN again."""
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.receive_eof()
    other.pause_writing()
    other.resume_writing()
    harness.settle()
    assert one.eofs == 1
    other.receive(b"last words")
    assert one.take() == b"last words"


@either
def test_a_connection_that_cannot_be_half_closed_is_closed(
    harness: Harness, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like TLS connections."""
    monkeypatch.setattr(FakeTransport, "can_write_eof", lambda _: False)
    client = tunnel(harness)
    one, _ = ends(harness, client, side)
    one.receive_eof()
    harness.settle()
    assert client.closed
    assert harness.upstream.closed
    assert harness.tunnels == 0


def test_a_fin_before_the_tunnel_means_that_the_client_left(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    client.receive_eof()
    harness.settle()
    assert harness.upstream.aborted
    assert harness.logged()["status"] == 499


def test_a_fin_right_behind_the_101(harness: Harness) -> None:
    client = harness.ask(UPGRADE)
    harness.upstream.receive(SWITCH + b"hello")
    harness.upstream.receive_eof()
    harness.settle()
    sent = client.take()
    assert status_of(sent) == 101
    assert sent.endswith(b"hello")
    assert client.eof_written
    client.receive(b"bye")
    assert harness.upstream.take().endswith(b"bye")
    client.receive_eof()
    harness.settle()
    assert harness.tunnels == 0


# --- a full close looks the same, so the other direction has less time


@either
def test_after_a_fin_the_other_direction_has_the_idle_timeout(make_harness: MakeHarness, side: str) -> None:
    harness = make_harness(timeouts={"idle": 60.0, "tunnel_idle": 3600.0})
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    harness.advance(100)  # tunnel_idle, so far
    one.receive_eof()
    for _ in range(3):
        harness.advance(59)
        other.receive(b"x")
    harness.advance(59.9)
    assert harness.tunnels == 1
    harness.advance(0.2)
    assert harness.tunnels == 0
    assert client.closed
    assert harness.upstream.closed
    assert harness.logged()["reason"] is None


@either
def test_after_a_fin_the_idle_timeout_applies_also_if_it_is_longer(
    make_harness: MakeHarness, side: str
) -> None:
    harness = make_harness(timeouts={"idle": 60.0, "tunnel_idle": 5.0})
    one, _ = ends(harness, tunnel(harness), side)
    one.receive_eof()
    harness.advance(59.9)
    assert harness.tunnels == 1
    harness.advance(0.2)
    assert harness.tunnels == 0


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half closed"])
def test_an_upstream_that_reads_some_of_the_data_is_not_idle(
    make_harness: MakeHarness, half_closed: bool
) -> None:
    harness = make_harness(timeouts={"idle": 60.0, "tunnel_idle": 60.0})
    client = tunnel(harness)
    client.receive(b"much")
    if half_closed:
        client.receive_eof()
    harness.upstream.pause_writing(100_000)
    for left in (80_000, 70_000, 10):
        harness.advance(59.9)
        harness.upstream.buffered = left
        harness.advance(0.2)
        assert harness.tunnels == 1
    harness.advance(60.3)
    assert harness.tunnels == 0


def test_the_end_of_the_drain_time_ends_a_half_closed_tunnel_too(harness: Harness) -> None:
    client = tunnel(harness)
    client.receive_eof()
    harness.proxy.drain()
    harness.advance(5)
    assert harness.tunnels == 1
    harness.proxy.abort_all()
    harness.settle()
    assert harness.tunnels == 0
    assert client.is_closing()


# --- a reset is the end of both


@either
def test_a_reset_ends_both_directions(harness: Harness, side: str) -> None:
    client = tunnel(harness)
    client.receive(b"request")
    harness.upstream.receive(b"response")
    one, other = ends(harness, client, side)
    one.lose(ConnectionResetError())
    harness.settle()
    assert other.closed
    assert not other.aborted  # written bytes still go out
    assert client.take() == b"response"
    assert harness.upstream.take() == b"request"
    assert harness.tunnels == 0
    assert harness.closes() == {"tunnel_ended": 1}
    assert (harness.logged()["status"], harness.logged()["reason"]) == (101, None)


@either
@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError()], ids=["reset", "after a FIN"])
def test_data_received_before_a_reset_met_by_a_write_is_passed_on(
    harness: Harness, side: str, error: Exception
) -> None:
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.lose(error, unread=b"close frame")
    harness.settle()
    assert other.take() == b"close frame"
    assert other.closed
    assert harness.tunnels == 0


def test_the_101_may_be_among_the_data_received_before_a_reset(harness: Harness) -> None:
    client = harness.ask(UPGRADE + b"early")
    harness.upstream.lose(BrokenPipeError(), SWITCH + b"bye")
    harness.settle()
    assert client.take().endswith(b"\r\n\r\nbye")
    assert client.closed
    assert harness.tunnels == 0


@either
def test_a_reset_that_was_read_as_a_fin_ends_the_tunnel(harness: Harness, side: str) -> None:
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.receive_reset(b"close frame")
    harness.settle()
    assert other.take() == b"close frame"
    assert other.closed
    assert harness.tunnels == 0


@either
def test_a_reset_after_a_fin_ends_the_tunnel(harness: Harness, side: str) -> None:
    one, other = ends(harness, tunnel(harness), side)
    one.receive_eof()
    one.lose(BrokenPipeError())
    harness.settle()
    assert other.closed
    assert harness.tunnels == 0
