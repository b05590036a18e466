"""Unread sides of a tunnel: the sweep polls them, and only a reset means that they have left."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.proxy.harness import Harness
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
def test_a_side_that_has_sent_its_fin_is_polled_for_a_reset(harness: Harness, pair: Ends, side: str) -> None:
    client = tunnel(harness)
    one, other = ends(harness, client, side)
    one.has_socket(pair.ours)
    pair.half_close()
    one.receive_eof()
    harness.advance(0.25)
    assert harness.tunnels == 1  # a FIN is no more than the end of a direction
    pair.reset()
    harness.advance(0.25)
    assert harness.tunnels == 0
    assert harness.inflight == [0]
    assert other.closed


def test_a_fin_does_not_mean_that_an_unread_client_has_left(harness: Harness, pair: Ends) -> None:
    """Its earlier bytes and its FIN are still unread."""
    client = tunnel(harness)
    client.has_socket(pair.ours)
    harness.upstream.pause_writing()
    client.receive(b"last words")
    client.receive_eof()
    pair.half_close()
    harness.advance(0.25)
    assert not client.is_closing()
    harness.upstream.resume_writing()
    harness.settle()
    assert (harness.upstream.take(), harness.upstream.eof_written) == (b"last words", True)


def test_nor_does_a_fin_after_the_upstreams_own(harness: Harness, pair: Ends) -> None:
    """Both directions of its connection are closed: the kernel calls that POLLHUP, as after a reset."""
    client = tunnel(harness)
    client.has_socket(pair.ours)
    harness.upstream.receive_eof()
    pair.ours.shutdown(socket.SHUT_WR)
    harness.upstream.pause_writing()
    client.receive(b"last words")
    client.receive_eof()
    pair.half_close()
    harness.advance(0.25)
    assert not client.is_closing()
    harness.upstream.resume_writing()
    harness.settle()
    assert harness.upstream.take() == b"last words"
    assert harness.tunnels == 0


@pytest.mark.parametrize("after", [None, "the upstream's FIN"])
def test_a_reset_means_that_an_unread_client_has_left_and_its_data_is_passed_on(
    harness: Harness, pair: Ends, after: str | None
) -> None:
    client = tunnel(harness)
    client.has_socket(pair.ours)
    if after:
        harness.upstream.receive_eof()
    harness.upstream.pause_writing()
    pair.theirs.send(b"close frame")
    pair.reset()
    harness.advance(0.25)
    assert client.aborted
    assert harness.tunnels == 0
    assert harness.upstream.take() == b"close frame"
    assert harness.upstream.closed
    harness.upstream.resume_writing()
    harness.settle()


def test_both_sides_may_be_found_gone_in_one_sweep(harness: Harness, pair: Ends) -> None:
    other_pair = Ends()
    client = tunnel(harness)
    client.has_socket(pair.ours)
    harness.upstream.has_socket(other_pair.ours)
    harness.upstream.receive_eof()
    harness.upstream.pause_writing()
    assert not client.reading
    pair.reset()
    other_pair.reset()
    harness.advance(0.25)
    assert client.is_closing()
    assert harness.upstream.is_closing()
    assert harness.tunnels == 0
    harness.upstream.resume_writing()
    harness.settle()
    other_pair.close()
