"""Tunnels of a draining worker: they go on for a while, and are then closed as their servers would."""

import pytest

from balancer.http.websocket_frames import SERVICE_RESTART
from tests.fakes.wire import FakeTransport, upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness
from tests.proxy.test_tunnel_ends import either, ends, tunnel

HELLO = b"\x81\x05hello"  # from a server
ANSWER = b"\x88\x82\0\0\0\0\x03\xf4"  # a client's Close frame, masked with zeros
LARGE = b"\x82\x7f" + (100_000).to_bytes(8, "big") + b"x" * 100_000
SECOND = 1_000_000_000


def draining(harness: Harness, seconds: float = 25.0) -> None:
    harness.proxy.drain(round(seconds * SECOND))


@pytest.fixture
def client(harness: Harness) -> FakeTransport:
    """The client of a tunnel."""
    return tunnel(harness)


# --- when


def test_a_tunnel_goes_on_for_the_time_of_the_setting(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    for _ in range(9):
        harness.advance(1.1)
        harness.upstream.receive(HELLO)
        client.receive(b"question")
    assert client.take() == HELLO * 9
    assert harness.upstream.take() == b"question" * 9
    harness.advance(0.2)
    assert client.take() == SERVICE_RESTART


def test_nothing_is_closed_without_a_drain(harness: Harness, client: FakeTransport) -> None:
    harness.advance(1000)
    assert client.take() == b""


def test_no_time_means_at_the_next_sweep(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={"tunnel_drain": 0.0})
    client = tunnel(harness)
    draining(harness)
    harness.advance(0.25)
    assert client.take() == SERVICE_RESTART


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_it_is_closed_early_enough_for_a_short_drain(make_harness: MakeHarness, seconds: float) -> None:
    harness = make_harness(timeouts={"tunnel_drain": 3600.0})
    client = tunnel(harness)
    draining(harness, seconds)
    harness.advance(seconds * 0.59)
    assert client.take() == b""
    harness.advance(seconds * 0.02)
    assert client.take() == SERVICE_RESTART
    harness.advance(seconds * 0.2 + 0.01)  # it does not answer
    assert harness.tunnels == 0


def test_a_tunnel_that_begins_during_the_drain_is_closed_with_the_others(
    harness: Harness, client: FakeTransport
) -> None:
    fresh = harness.client()
    draining(harness)
    tunnel(harness, fresh)
    harness.advance(10.1)
    assert client.take() == fresh.take() == SERVICE_RESTART


def test_many_tunnels_are_closed_one_after_the_other(harness: Harness) -> None:
    clients = [tunnel(harness) for _ in range(400)]
    draining(harness)
    harness.advance(9.9)
    told = []
    for _ in range(21):
        harness.advance(0.25)
        told.append(sum(client.written.endswith(SERVICE_RESTART) for client in clients))
    steps = [after - before for before, after in zip([0, *told], told, strict=False)]
    assert told[-1] == 400
    assert 18 <= sum(step > 0 for step in steps) <= 20
    assert max(steps) <= 22


def test_a_few_tunnels_are_closed_together(harness: Harness) -> None:
    clients = [tunnel(harness) for _ in range(10)]
    draining(harness)
    harness.advance(10.1)
    assert [client.take() for client in clients] == [SERVICE_RESTART] * 10


# --- how


def test_both_ends_see_an_orderly_close(harness: Harness, client: FakeTransport) -> None:
    """The client's answer is what closes the WebSocket at the app."""
    draining(harness)
    harness.advance(10.1)
    assert client.take() == SERVICE_RESTART
    assert not client.eof_written
    client.receive(b"sent before" + ANSWER)
    assert harness.upstream.take() == b"sent before" + ANSWER
    harness.upstream.receive(SERVICE_RESTART)  # the app's answer, which the client does not expect
    harness.upstream.receive_eof()
    harness.settle()
    assert client.take() == b""
    assert client.eof_written
    client.receive_eof()
    harness.settle()
    assert client.closed
    assert not client.aborted
    assert not harness.upstream.aborted
    assert harness.tunnels == 0
    assert harness.closes() == {"tunnel_ended": 1}
    assert (harness.logged()["status"], harness.logged()["reason"]) == (101, None)


def test_what_the_app_sends_after_the_close_frame_is_dropped(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    harness.advance(10.1)
    harness.upstream.receive(HELLO)
    assert client.take() == SERVICE_RESTART
    assert harness.tunnels == 1


@pytest.mark.parametrize("cut", [1, 5, 50_000, len(LARGE) - 1])
def test_a_frame_that_has_begun_is_relayed_to_its_end(
    harness: Harness, client: FakeTransport, cut: int
) -> None:
    draining(harness)
    harness.advance(9.9)
    harness.upstream.receive(HELLO + LARGE[:cut])
    harness.advance(0.2)
    assert client.take() == HELLO + LARGE[:cut]
    if cut < 60_000:
        harness.upstream.receive(LARGE[cut:60_000])
        harness.settle()
        assert client.take() == LARGE[cut:60_000]
        cut = 60_000
    harness.upstream.receive(LARGE[cut:] + HELLO)
    harness.settle()
    assert client.take() == LARGE[cut:] + SERVICE_RESTART


def test_a_frame_that_does_not_end_in_time_is_cut_off_by_a_fin(
    harness: Harness, client: FakeTransport
) -> None:
    """A Close frame within it would be taken for its payload."""
    draining(harness)
    harness.upstream.receive(LARGE[:1000])
    harness.advance(10.1)
    harness.upstream.receive(LARGE[1000:2000])
    harness.advance(5.1)
    assert client.take() == LARGE[:2000]
    assert client.closed
    assert not client.aborted
    assert harness.upstream.closed
    assert harness.tunnels == 0


def test_bytes_that_are_no_frames_are_followed_by_a_fin(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    harness.upstream.receive(b"\x81\x82\0\0\0\0hi")
    client.take()
    harness.advance(10.1)
    assert (client.take(), client.eof_written) == (b"", True)
    client.receive(b"last words")
    client.receive_eof()
    harness.settle()
    assert harness.upstream.take() == b"last words"
    assert harness.upstream.eof_written
    harness.upstream.receive_eof()
    harness.settle()
    assert harness.tunnels == 0
    assert not client.aborted


def test_an_app_that_ends_before_the_client_has_read_the_fin(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    harness.upstream.receive(b"\x81\x82\0\0\0\0hi")
    harness.advance(10.1)
    harness.upstream.receive_eof()
    harness.settle()
    assert harness.tunnels == 1
    client.receive(b"last words")
    assert harness.upstream.take() == b"last words"
    client.receive_eof()
    harness.settle()
    assert harness.tunnels == 0


def test_a_client_that_does_not_answer_is_left_after_5_s(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    harness.advance(10.1)
    harness.advance(4.8)
    assert harness.tunnels == 1
    harness.advance(0.3)
    assert harness.tunnels == 0
    assert client.closed
    assert not client.aborted
    assert harness.upstream.closed
    assert not harness.upstream.aborted


def test_a_slow_client_gets_what_was_received_for_it(harness: Harness, client: FakeTransport) -> None:
    draining(harness)
    harness.upstream.receive(HELLO)
    client.pause_writing(buffered=100_000)
    harness.advance(10.1)
    client.resume_writing()
    client.receive(ANSWER)
    harness.settle()
    assert client.take() == HELLO + SERVICE_RESTART
    assert harness.upstream.take() == ANSWER


@either
@pytest.mark.parametrize("other_ends", [True, False])
def test_a_half_closed_tunnel_ends_too(
    harness: Harness, client: FakeTransport, side: str, other_ends: bool
) -> None:
    one, other = ends(harness, client, side)
    one.receive_eof()
    harness.settle()
    draining(harness)
    harness.advance(10.1)
    assert client.take() == (b"" if side == "upstream" else SERVICE_RESTART)
    assert harness.tunnels == 1
    if other_ends:
        other.receive_eof()
        harness.settle()
    else:
        harness.advance(5.1)
    assert harness.tunnels == 0
    assert not client.aborted
    assert not harness.upstream.aborted


@either
def test_a_reset_after_the_close_frame_ends_the_tunnel(
    harness: Harness, client: FakeTransport, side: str
) -> None:
    draining(harness)
    harness.advance(10.1)
    one, other = ends(harness, client, side)
    one.lose(ConnectionResetError())
    harness.settle()
    assert other.closed
    assert harness.tunnels == 0


def test_the_end_of_the_drain_ends_a_tunnel_that_is_being_closed(
    harness: Harness, client: FakeTransport
) -> None:
    draining(harness)
    harness.advance(10.1)
    harness.proxy.abort_all()
    harness.settle()
    assert client.closed
    assert harness.tunnels == 0


# --- an upstream that is drained keeps its tunnels: docs/admin.md


@pytest.mark.parametrize("state", ["draining", "maintenance", "removed"])
def test_the_tunnels_of_an_upstream_outlast_its_drain(make_harness: MakeHarness, state: str) -> None:
    harness = make_harness(2)
    client = tunnel(harness)
    number = int(harness.dialled[-1].rpartition(".")[2])
    other = upstream_message(3 - number)
    if state == "removed":
        harness.tell(other)
    else:
        harness.tell(upstream_message(number, admin_state=state), other)
    harness.advance(100)
    harness.upstream.receive(HELLO)
    assert client.take() == HELLO
    assert harness.tunnels == 1
