"""Sides of a tunnel that are not being read: the sweep polls them, and only a reset says that they left."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.proxy.harness import Stage
from tests.proxy.test_tunnel_ends import either, ends, tunnel


class Ends:
    """A TCP connection: `ours` is that of a fake transport, `theirs` the peer's."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.theirs = socket.create_connection(listening.getsockname())
            self.ours, _ = listening.accept()

    def reset(self) -> None:
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.theirs.close()
        self._shows(select.POLLERR)

    def half_close(self) -> None:
        self.theirs.shutdown(socket.SHUT_WR)
        self._shows(select.POLLRDHUP)

    def _shows(self, event: int) -> None:
        poll = select.poll()
        poll.register(self.ours, event)
        assert poll.poll(10_000), "the kernel has not told"

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def pair() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


@either
def test_a_reset_of_the_side_that_has_ended_is_polled_for(stage: Stage, pair: Ends, side: str) -> None:
    client = tunnel(stage)
    one, other = ends(stage, client, side)
    one.has_socket(pair.ours)
    pair.half_close()
    one.receive_eof()
    stage.advance(0.25)
    assert stage.tunnels == 1  # a FIN is no more than the end of a direction
    pair.reset()
    stage.advance(0.25)
    assert stage.tunnels == 0
    assert stage.inflight == [0]
    assert other.closed


def test_a_client_that_is_not_read_has_not_left_with_a_fin(stage: Stage, pair: Ends) -> None:
    """What it has sent before, and its FIN, are still to be read."""
    client = tunnel(stage)
    client.has_socket(pair.ours)
    stage.upstream.pause_writing()
    client.receive(b"last words")
    client.receive_eof()
    pair.half_close()
    stage.advance(0.25)
    assert not client.is_closing()
    stage.upstream.resume_writing()
    stage.settle()
    assert (stage.upstream.take(), stage.upstream.eof_written) == (b"last words", True)


def test_nor_where_the_upstreams_fin_has_gone_out_before(stage: Stage, pair: Ends) -> None:
    """Both directions of its connection are closed: the kernel calls that POLLHUP, as after a reset."""
    client = tunnel(stage)
    client.has_socket(pair.ours)
    stage.upstream.receive_eof()
    pair.ours.shutdown(socket.SHUT_WR)
    stage.upstream.pause_writing()
    client.receive(b"last words")
    client.receive_eof()
    pair.half_close()
    stage.advance(0.25)
    assert not client.is_closing()
    stage.upstream.resume_writing()
    stage.settle()
    assert stage.upstream.take() == b"last words"
    assert stage.tunnels == 0


@pytest.mark.parametrize("after", [None, "the upstream's FIN"])
def test_it_has_with_a_reset_and_what_it_had_sent_goes_out(
    stage: Stage, pair: Ends, after: str | None
) -> None:
    client = tunnel(stage)
    client.has_socket(pair.ours)
    if after:
        stage.upstream.receive_eof()
    stage.upstream.pause_writing()
    pair.theirs.send(b"close frame")
    pair.reset()
    stage.advance(0.25)
    assert client.aborted
    assert stage.tunnels == 0
    assert stage.upstream.take() == b"close frame"
    assert stage.upstream.closed
    stage.upstream.resume_writing()
    stage.settle()


def test_both_sides_may_be_gone_in_one_sweep(stage: Stage, pair: Ends) -> None:
    other_pair = Ends()
    client = tunnel(stage)
    client.has_socket(pair.ours)
    stage.upstream.has_socket(other_pair.ours)
    stage.upstream.receive_eof()
    stage.upstream.pause_writing()
    assert not client.reading
    pair.reset()
    other_pair.reset()
    stage.advance(0.25)
    assert client.is_closing()
    assert stage.upstream.is_closing()
    assert stage.tunnels == 0
    stage.upstream.resume_writing()
    stage.settle()
    other_pair.close()
