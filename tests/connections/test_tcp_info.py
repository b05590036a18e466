"""What the kernel reports about a connection, with real sockets."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from balancer.connections.tcp_info import send_room, taken

pytestmark = pytest.mark.integration


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        ours.settimeout(10.0)
        theirs.settimeout(10.0)
        # One exchange, whose response acknowledges the request.
        ours.sendall(b"GET")
        assert theirs.recv(3) == b"GET"
        theirs.sendall(b"ok")
        assert ours.recv(2) == b"ok"
        yield ours, theirs


def test_bytes_refused_by_a_closed_peer_are_neither_acknowledged_nor_taken(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    before = taken(ours)
    theirs.close()
    ours.sendall(b"POST")
    assert ours.recv(1) == b""  # its FIN; its reset answers our bytes; on loopback both have arrived
    after = taken(ours)
    assert before is not None
    assert after is not None
    assert (before.closed, after.closed, after.acked) == (False, True, before.acked)


def test_bytes_taken_by_the_peer_are_acknowledged(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    before = taken(ours)
    ours.sendall(b"POST")
    assert theirs.recv(4) == b"POST"
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    after = taken(ours)
    assert before is not None
    assert after is not None
    assert after.acked - before.acked == 4


def test_nothing_is_known_of_other_sockets() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert taken(one) is None
    assert taken(one) is None
    assert taken(None) is None


def transport_of(sock: socket.socket) -> asyncio.Transport:
    class Transport(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

    return Transport({"socket": sock})


def test_seven_eighths_of_the_send_buffer_are_usable_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    ours.setblocking(False)
    transport = transport_of(ours)
    sent = 0
    while (size := send_room(transport) // 8 * 7) >= 16_384:
        assert ours.send(bytes(size)) == size
        sent += size
    assert sent > 16_384
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(16_384))
    assert send_room(transport) < 65_536


def test_a_closed_socket_has_no_room(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    transport = transport_of(ours)
    ours.close()
    assert send_room(transport) == 0
