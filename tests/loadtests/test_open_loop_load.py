"""The load on the wire: its records of a scripted server's behaviour, and its patience."""

import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import SHUT_RDWR, SHUT_WR, SO_LINGER, SOL_SOCKET, create_server, socket

import pytest

from loadtests.open_loop import order, records
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.order import Order
from loadtests.open_loop.records import Record

pytestmark = pytest.mark.integration

PATIENCE = 0.3
PHASES = [Phase(0, 0.1, (Sort("/r/"),), burst=3)]


def head(status: int, rest: str) -> bytes:
    return f"HTTP/1.1 {status} Said\r\n{rest}\r\n".encode()


def own(request: bytes) -> bytes:
    return request.split(b" ", 2)[1].removeprefix(b"/r/")


def served(request: bytes) -> bytes:
    body = own(request).ljust(10)
    return head(200, f"Content-Length: {len(body)}\r\n") + body


ANSWERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "its own": (served, "ok"),
    "until the connection ends": (lambda request: head(200, "Connection: close\r\n") + own(request), "ok"),
    "another's": (lambda _: head(200, "Content-Length: 3\r\n") + b"999", "wrong"),
    "refused": (lambda _: head(503, "Content-Length: 2\r\n") + b"no", "status 503"),
    "half": (lambda _: head(200, "Content-Length: 9\r\n") + b"9", "cut"),
    "nothing": (lambda _: b"", "reset"),
}


@contextmanager
def server(
    answer: Callable[[bytes], bytes] | None, resets: bool = False
) -> Iterator[tuple[int, list[socket]]]:
    """A server's port, and its connections that received data; without an answer it sends nothing. `resets`:
    it ends each connection with a reset behind its answer."""
    listening = create_server(("127.0.0.1", 0), backlog=64)
    used: list[socket] = []

    def serve(connection: socket) -> None:
        with connection:
            while request := connection.recv(1000):
                used.append(connection)
                if answer is not None:
                    said = answer(request)
                    connection.sendall(said)
                    if resets:
                        connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if said != served(request):
                        connection.shutdown(SHUT_WR)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listening.getsockname()[1], used
    finally:
        listening.shutdown(SHUT_RDWR)
        listening.close()
        thread.join()


def play(port: int, directory: Path, reuse: bool = True) -> list[Record]:
    given = Order(port, PHASES, PATIENCE, 1, directory / "records", reuse)
    subprocess.run(given.command, check=True, timeout=30, capture_output=True)
    return records.read(given.records)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_client_records(name: str, tmp_path: Path) -> None:
    answer, expected = ANSWERS[name]
    with server(answer) as (port, _):
        seen = play(port, tmp_path, reuse=False)
    assert [one.failure for one in seen] == [expected] * 3
    assert sorted(one.number for one in seen) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("its own", "ok"), ("until the connection ends", "cut")],
    ids=["whole", "no length"],
)
def test_a_response_ended_by_a_reset_is_whole_only_with_its_length(
    name: str, expected: str, tmp_path: Path
) -> None:
    with server(ANSWERS[name][0], resets=True) as (port, _):
        seen = play(port, tmp_path, reuse=False)
    assert [one.failure for one in seen] == [expected] * 3


def test_a_client_leaves_when_its_patience_ends(tmp_path: Path) -> None:
    with server(None) as (port, _):
        seen = play(port, tmp_path)
    assert [one.failure for one in seen] == ["timeout"] * 3
    assert all(one.took >= PATIENCE for one in seen)


def test_a_refused_connection_is_recorded(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    seen = play(port, tmp_path, reuse=False)
    assert [one.failure for one in seen] == ["reset"] * 3


def test_each_request_may_use_its_own_connection(tmp_path: Path) -> None:
    with server(served) as (port, used):
        play(port, tmp_path, reuse=False)
    assert len(set(map(id, used))) == 3


def test_an_order_round_trips() -> None:
    given = Order(
        80, [Phase(5, 1, (Sort("/a/", 0.5), Sort("/b/", 0.5, "POST")), 7)], 2.0, 3, Path("f"), False
    )
    assert order.decode(given.command[-1]) == given
    assert given.seconds == 1
