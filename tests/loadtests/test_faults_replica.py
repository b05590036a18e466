"""The faulty replica, as seen on the wire."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import control
from loadtests.faults import ledger, namespace
from loadtests.faults.behaviour import HEALTHY, Answer, Behaviour, Door, encode
from loadtests.faults.ledger import Entry
from loadtests.faults.namespace import Namespace
from loadtests.processes import Processes, free_ports
from loadtests.stage import READY

pytestmark = pytest.mark.integration

PATIENCE = 10.0
SILENCE = 0.2  # seconds of silence that count as no answer


class Seat:
    """One replica's process and how to reach it."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        self.port = free_ports(1)[0]
        self.control = directory / "control"
        self.ledger = directory / "ledger"
        module = [sys.executable, "-m", "loadtests.faults.replica", "127.0.0.1", str(self.port)]
        pid = processes.start("replica", [*module, str(self.control), str(self.ledger)], None)
        processes.wait_for_line("replica", pid, READY)

    def behave(self, change: Behaviour) -> None:
        control.tell(self.control, encode(change))

    def connect(self, patience: float = PATIENCE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), patience)

    def ask(self, target: str = "/r/7") -> bytes:
        """All bytes received on a connection, until it ends or is silent."""
        with self.connect() as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            received = b""
            connection.settimeout(SILENCE)
            while data := connection.recv(1000):
                received += data
                if received.endswith(b" " * 90) or received.endswith(b"ok"):
                    break
            return received


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Seat]:
    with Processes(tmp_path) as processes:
        yield Seat(tmp_path, processes)


def test_a_healthy_replica_names_the_request_it_answers_and_records_it(seat: Seat) -> None:
    head, _, body = seat.ask().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"7".ljust(100)
    assert ledger.read(seat.ledger) == [Entry("GET", 7)]


def test_checks_are_not_recorded(seat: Seat) -> None:
    assert seat.ask("/health").endswith(b"ok")
    assert ledger.read(seat.ledger) == []


@pytest.mark.parametrize(("healthy", "status"), [(True, b"200"), (False, b"500")])
def test_the_check_response_of_each_fault(seat: Seat, healthy: bool, status: bytes) -> None:
    seat.behave(Behaviour(status=500, healthy_check=healthy))
    assert seat.ask().split(b" ")[1] == b"500"
    assert seat.ask("/health").split(b" ")[1] == status


def test_a_truncated_response_ends_in_its_middle(seat: Seat) -> None:
    seat.behave(Behaviour(answer=Answer.HALF))
    head, _, body = seat.ask().partition(b"\r\n\r\n")
    assert b"Content-Length: 100" in head
    assert len(body) == 50


def test_a_reset_is_not_a_clean_end(seat: Seat) -> None:
    seat.behave(Behaviour(answer=Answer.RESET))
    with pytest.raises(ConnectionResetError):
        seat.ask()


def test_a_hanging_replica_has_read_the_request(seat: Seat) -> None:
    seat.behave(Behaviour(answer=Answer.NEVER))
    with pytest.raises(TimeoutError):
        seat.ask()
    assert ledger.read(seat.ledger) == [Entry("GET", 7)]


def test_a_closed_port_refuses_and_ends_idle_connections(seat: Seat) -> None:
    with seat.connect() as idle:
        assert seat.ask()  # a turn of its loop later, when the idle connection has been accepted
        seat.behave(Behaviour(door=Door.CLOSED))
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        seat.connect()
    seat.behave(HEALTHY)
    assert seat.ask()


def test_a_full_backlog_swallows_connects(seat: Seat) -> None:
    seat.behave(Behaviour(door=Door.FULL))
    with pytest.raises(TimeoutError):
        seat.connect(SILENCE)
    seat.behave(HEALTHY)
    assert seat.ask()


def test_a_namespace_swallows_packets_and_is_removed_afterwards() -> None:
    if not namespace.are_possible():
        pytest.skip("no network namespaces here")
    with Namespace() as inside:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((inside.address, 9), SILENCE)
        inside.swallow(True)
        with pytest.raises(TimeoutError):
            socket.create_connection((inside.address, 9), SILENCE)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([*inside.prefix, "true"], check=True, capture_output=True)
