"""The transport of a client under TLS has the contract of a plain one."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from balancer.connections.tls_transport import TlsTransport
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.transport import FakeTransport


class Uvloops(FakeTransport):
    """uvloop's transport, on one end of a real connection."""

    def set_read_buffer_limits(self, high: int) -> None:
        """Nothing is read here."""


class Ends:
    """`transport` is what is tested, `inner` is uvloop's; the client is the other end of `sock`."""

    def __init__(self) -> None:
        self.loop = FakeLoop(FakeClock())  # type: ignore[abstract]  # it has what is used
        self.sock, self.client = socket.socketpair()
        self.sock.setblocking(False)
        self.inner = Uvloops(self.loop, asyncio.Protocol(), socket=self.sock)
        self.transport = TlsTransport(self.inner, self.loop)

    def fill(self) -> None:
        """The client does not read: its kernel, and ours, can take no more."""
        try:
            while self.sock.send(b"x" * 65536):
                pass
        except BlockingIOError:
            return

    def read(self) -> None:
        """The client reads all."""
        self.client.setblocking(False)
        try:
            while self.client.recv(1 << 20):
                pass
        except BlockingIOError:
            return

    def wait(self, seconds: float = 0.2) -> None:
        self.loop.clock.advance(seconds)
        self.loop.settle()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.sock.close()
    made.client.close()


def test_a_close_is_uvloops_if_all_is_taken(ends: Ends) -> None:
    ends.transport.write(b"last")
    ends.transport.close()
    assert ends.transport.is_closing()
    assert not ends.inner.closed  # what was written in this turn is not in the kernel yet
    ends.loop.settle()
    assert ends.inner.closed


def test_a_close_waits_for_what_is_not_encrypted_yet(ends: Ends) -> None:
    ends.inner.buffered = 100
    ends.transport.close()
    ends.wait(10)
    assert not ends.inner.closed
    assert ends.transport.get_write_buffer_size() == 100
    ends.inner.buffered = 0
    ends.wait()
    assert ends.inner.closed


def test_a_close_waits_for_what_the_kernel_does_not_take(ends: Ends) -> None:
    ends.fill()
    ends.transport.close()
    ends.wait(10)
    assert not ends.inner.closed
    ends.read()
    ends.wait()
    assert ends.inner.closed


def test_nothing_is_written_behind_a_close(ends: Ends) -> None:
    ends.transport.close()
    ends.transport.write(b"more")
    ends.transport.writelines([b"more"])
    assert ends.inner.take() == b""


def test_an_abort_ends_a_close_that_waits(ends: Ends) -> None:
    ends.inner.buffered = 100
    ends.transport.close()
    ends.loop.settle()
    ends.transport.abort()
    ends.wait(10)
    assert ends.inner.aborted
    assert not ends.inner.closed
    assert ends.loop.armed_timers == 0


def test_a_loss_ends_a_close_that_waits(ends: Ends) -> None:
    ends.fill()
    ends.transport.close()
    ends.loop.settle()
    ends.inner.lose(ConnectionResetError())
    ends.wait(10)
    assert ends.loop.armed_timers == 0


def test_no_buffer_is_the_buffer_of_one_record(ends: Ends) -> None:
    ends.transport.set_write_buffer_limits(high=0)
    assert ends.inner.high_water == 16 * 1024
    ends.transport.set_write_buffer_limits(high=5)
    assert ends.inner.high_water == 5


def test_there_is_no_half_close(ends: Ends) -> None:
    assert not ends.transport.can_write_eof()
