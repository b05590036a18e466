"""The transport under TLS has the contract of a plain one: between OpenSSL at the other end and a fake TCP
transport."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from balancer.connections.intake import Turns
from balancer.connections.last_words import last_words
from balancer.connections.own_certificate import load_own_certificate
from balancer.connections.tls_session import TlsSession
from balancer.connections.tls_transport import TlsTransport
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.tls_records import ClientRecords
from tests.fakes.tls_specs import certificate, client_context
from tests.fakes.transport import FakeTransport

RECORD = 16 * 1024
MUCH = b"x" * 1_000_000


class Told(asyncio.Protocol):
    """What a protocol was told. `pauses` has it pause at each piece of data."""

    def __init__(self, transport: TlsTransport) -> None:
        self.transport = transport
        self.pieces: list[bytes] = []
        self.ended = False
        self.lost: list[Exception | None] = []
        self.paused: list[bool] = []
        self.pauses = False

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.pauses:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        return True  # a half-close, which there is not

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)


class Buffered(asyncio.BufferedProtocol):
    """Takes the place of a protocol, with a buffer of `size` bytes."""

    def __init__(self, told: Told, size: int) -> None:
        self._told = told
        self._buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._told.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return self._told.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._told.connection_lost(exc)


class Before(asyncio.Protocol):
    """The protocol of the TCP transport in the handshake."""


class Ends:
    """`transport` is what is tested, over `tcp`; the peer is OpenSSL's client. Its handshake is over."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        clock = FakeClock()
        self.loop = FakeLoop(clock)  # type: ignore[abstract]  # it has what is used
        self.tcp = FakeTransport(self.loop, Before())
        self.transport = TlsTransport(self.tcp, Turns(self.loop, clock), server_context(), server_side=True)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = (context or client_context()).wrap_bio(
            self._incoming, self._outgoing, server_hostname="shop.example"
        )
        while True:
            try:
                self.peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.transport.shake_hands(self._outgoing.read())
                self._incoming.write(self.tcp.take())
        assert self.transport.shake_hands(self._outgoing.read())
        self.told = Told(self.transport)
        self.transport.begin(self.told)
        self.read()

    def encrypted(self, *pieces: bytes) -> bytes:
        """These pieces of data from the peer, each in records of its own."""
        for piece in pieces:
            self.peer.write(piece)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.peer.unwrap()
        return self._outgoing.read()

    def read(self) -> bytes:
        """What the peer gets; ends with b"." if it is told of the end."""
        self._incoming.write(self.tcp.take())
        found = b""
        try:
            while piece := self.peer.read(1 << 20):
                found += piece
        except ssl.SSLWantReadError:
            return found
        except ssl.SSLZeroReturnError:
            pass
        return found + b"."


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = certificate("shop.example")
    load_own_certificate(context, made.chain, made.key)
    return context


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    context = client_context()
    context.maximum_version = request.param
    made = Ends(context)
    yield made
    made.transport.abort()
    made.loop.settle()


# --- reading


def test_data_of_one_read_is_passed_on_at_once(ends: Ends) -> None:
    ends.tcp.receive(ends.encrypted(b"a", b"b" * 50_000, b"c"))
    assert ends.told.pieces == [b"a" + b"b" * 50_000 + b"c"]


def test_a_record_may_come_byte_by_byte(ends: Ends) -> None:
    data = ends.encrypted(b"data")
    for at in range(len(data)):
        assert ends.told.data == b""
        ends.tcp.receive(data[at : at + 1])
    assert ends.told.data == b"data"


def test_small_records_are_read_some_in_each_turn(ends: Ends) -> None:
    ends.tcp.receive(ends.encrypted(*[b"a"] * 600))
    assert len(ends.told.data) == 256
    assert not ends.tcp.reading
    ends.loop.settle()
    assert [len(piece) for piece in ends.told.pieces] == [256, 256, 88]
    assert ends.tcp.reading


def test_records_without_data_are_read_some_in_each_turn(tmp_path: Path) -> None:
    context = client_context()
    context.keylog_filename = str(tmp_path / "keys")
    ends = Ends(context)
    records = ClientRecords(tmp_path / "keys")
    updates = [records.key_update() for _ in range(600)]
    ends.tcp.receive(b"".join(updates) + records.data(b"data"))
    session: TlsSession = ends.transport.get_extra_info("tls_session")
    assert session.unread.startswith(updates[256])
    assert not ends.tcp.reading
    ends.loop.settle()
    assert ends.told.pieces == [b"data"]
    assert ends.tcp.reading


@pytest.mark.parametrize("size", [1, 3, 5, 7, 22, 1000, 5900])
def test_records_are_read_in_pieces_of_any_size(ends: Ends, size: int) -> None:
    pieces = [bytes([number % 251]) * (number % 40 + 1) for number in range(600)]
    data = ends.encrypted(*pieces)
    for start in range(0, len(data), size):
        ends.tcp.receive(data[start : start + size])
        ends.loop.settle()
    assert ends.told.data == b"".join(pieces)
    assert ends.tcp.reading


def test_nothing_is_passed_on_while_the_protocol_has_paused(ends: Ends) -> None:
    ends.told.pauses = True
    ends.tcp.receive(ends.encrypted(*[b"a"] * 600))
    ends.loop.settle()
    assert len(ends.told.data) == 256
    ends.transport.resume_reading()
    ends.loop.settle()
    assert len(ends.told.data) == 512
    assert not ends.tcp.reading
    ends.told.pauses = False
    ends.transport.resume_reading()
    ends.loop.settle()
    assert len(ends.told.data) == 600
    assert ends.tcp.reading


def test_a_pause_is_one_of_the_tcp_transport(ends: Ends) -> None:
    ends.transport.pause_reading()
    assert not ends.tcp.reading
    assert not ends.transport.is_reading()
    ends.transport.resume_reading()
    assert ends.tcp.reading


@pytest.mark.parametrize("size", [RECORD // 4, RECORD, 3 * RECORD + 1, 1 << 20])
def test_a_buffer_is_filled_once_in_a_turn(ends: Ends, size: int) -> None:
    ends.transport.pause_reading()
    ends.transport.set_protocol(Buffered(ends.told, size))
    ends.transport.resume_reading()
    ends.tcp.receive(ends.encrypted(MUCH[: 3 * RECORD]))
    assert ends.told.data == MUCH[: min(size, 3 * RECORD)]
    ends.loop.settle()
    assert ends.told.data == MUCH[: 3 * RECORD]
    assert ends.tcp.reading


def test_what_did_not_fit_a_buffer_is_for_the_next_protocol(ends: Ends) -> None:
    ends.transport.pause_reading()
    ends.transport.set_protocol(Buffered(ends.told, 100))
    ends.transport.resume_reading()
    ends.told.pauses = True
    ends.tcp.receive(ends.encrypted(b"a" * 300))
    ends.transport.set_protocol(ends.told)
    ends.told.pauses = False
    ends.transport.resume_reading()
    ends.loop.settle()
    assert [len(piece) for piece in ends.told.pieces] == [100, 200]


def test_a_read_of_much_goes_on_in_the_next_turn(ends: Ends) -> None:
    ends.transport.pause_reading()
    ends.transport.set_protocol(Buffered(ends.told, 1 << 20))
    ends.transport.resume_reading()
    ends.tcp.receive(ends.encrypted(MUCH))
    assert 0 < len(ends.told.data) <= 64 * 1024
    while len(ends.told.data) < len(MUCH):
        ends.loop.settle()
    assert ends.told.data == MUCH


# --- writing


@pytest.mark.parametrize("size", [1, RECORD, 64 * 1024, 64 * 1024 + 1, len(MUCH)])
def test_what_is_written_arrives(ends: Ends, size: int) -> None:
    ends.transport.write(MUCH[:size])
    ends.transport.writelines([b"a", b"b"])
    assert ends.read() == MUCH[:size] + b"ab"


def test_nothing_is_written_for_no_data(ends: Ends) -> None:
    ends.transport.write(b"")
    assert ends.tcp.take() == b""


def test_what_waits_is_what_the_tcp_transport_has(ends: Ends) -> None:
    ends.transport.set_write_buffer_limits(high=0)
    assert ends.tcp.high_water == 0
    ends.tcp.pause_writing(100)
    assert ends.transport.get_write_buffer_size() == 100
    ends.tcp.resume_writing()
    assert ends.told.paused == [True, False]


# --- ends


def test_a_close_notify_follows_what_was_written(ends: Ends) -> None:
    ends.transport.write(b"last")
    ends.transport.close()
    assert ends.transport.is_closing()
    assert ends.tcp.closed
    assert ends.read() == b"last."


def test_nothing_is_written_behind_a_close(ends: Ends) -> None:
    ends.transport.close()
    ends.transport.write(b"more")
    ends.transport.close()
    assert ends.read() == b"."
    assert ends.tcp.late_writes == []


def test_an_abort_says_nothing(ends: Ends) -> None:
    ends.transport.abort()
    ends.loop.settle()
    assert ends.tcp.aborted
    assert ends.read() == b""
    assert ends.told.lost == [None]


def test_a_close_notify_is_the_end_of_the_peer_and_answered(ends: Ends) -> None:
    ends.tcp.receive(ends.encrypted(b"last") + ends.close_notify())
    ends.loop.settle()
    assert (ends.told.data, ends.told.ended) == (b"last", True)
    assert ends.tcp.closed
    assert ends.told.lost == [None]


def test_an_end_waits_for_a_protocol_that_has_paused(ends: Ends) -> None:
    ends.told.pauses = True
    ends.tcp.receive(ends.encrypted(b"last") + ends.close_notify())
    ends.loop.settle()
    assert not ends.told.ended
    ends.transport.resume_reading()
    ends.loop.settle()
    assert ends.told.ended


def test_a_fin_without_a_close_notify_is_no_end(ends: Ends) -> None:
    ends.tcp.receive(ends.encrypted(b"last"))
    ends.tcp.receive_eof()
    ends.loop.settle()
    assert (ends.told.data, ends.told.ended, ends.told.lost) == (b"last", False, [None])


def test_a_forged_record_ends_the_connection_and_the_peer_is_told(ends: Ends) -> None:
    ends.tcp.receive(ends.encrypted(b"good") + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    ends.loop.settle()
    assert ends.told.data == b"good"
    assert ends.tcp.closed
    assert isinstance(ends.told.lost[0], ssl.SSLError)
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        ends.read()


def test_nothing_is_written_behind_an_error_of_the_peer(ends: Ends) -> None:
    class Answers(Told):
        def data_received(self, data: bytes) -> None:
            assert self.transport.is_closing()
            self.transport.write(data)
            self.transport.close()

    told = Answers(ends.transport)
    ends.transport.set_protocol(told)
    ends.tcp.receive(ends.encrypted(b"good") + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    ends.loop.settle()
    assert ends.tcp.closed
    assert isinstance(told.lost[0], ssl.SSLError)


# --- when the connection is lost


def test_what_had_arrived_can_be_read(ends: Ends) -> None:
    data = ends.encrypted(b"last ", b"words")
    ends.tcp.lose(ConnectionResetError(), unread=data)
    assert [type(error) for error in ends.told.lost] == [ConnectionResetError]
    assert b"".join(last_words(ends.transport)) == b"last words"  # type: ignore[arg-type]  # by its methods


def test_what_was_held_back_can_be_read(ends: Ends) -> None:
    ends.told.pauses = True
    ends.tcp.receive(ends.encrypted(*[b"a"] * 300))
    ends.tcp.lose(ConnectionResetError(), unread=ends.encrypted(b"last words"))
    assert b"".join(last_words(ends.transport)) == b"a" * 44 + b"last words"  # type: ignore[arg-type]


def test_connections_do_not_mix() -> None:
    """They share what OpenSSL reads from and writes to."""
    one, other = Ends(), Ends()
    first, second = one.encrypted(b"one"), other.encrypted(b"other")
    one.tcp.receive(first[:10])
    other.tcp.receive(second[:10])
    one.transport.write(b"to one")
    one.tcp.receive(b"\x17\x03\x03\x00\x20" + b"x" * 64)
    one.loop.settle()
    other.tcp.receive(second[10:])
    other.transport.write(b"to other")
    assert other.told.data == b"other"
    assert other.read() == b"to other"


def test_what_did_not_fit_a_buffer_can_be_read(ends: Ends) -> None:
    ends.transport.pause_reading()
    ends.transport.set_protocol(Buffered(ends.told, 100))
    ends.transport.resume_reading()
    ends.told.pauses = True
    ends.tcp.receive(ends.encrypted(b"a" * 300))
    ends.tcp.lose(ConnectionResetError())
    assert ends.told.data == b"a" * 100
    assert b"".join(last_words(ends.transport)) == b"a" * 200  # type: ignore[arg-type]  # by its methods
