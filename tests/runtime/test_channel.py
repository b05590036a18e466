"""The control channel: messages survive any cut of the bytes, and a misbehaving peer costs no memory."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.messages import FromWorker, Heartbeat, LogLine, Ready, Released, from_workers
from balancer.runtime import channel as channel_module
from balancer.runtime.channel import MAX_BUFFERED, MAX_LINE, Channel, ChannelError, LineSplitter
from balancer.spec.part import ShapeError


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    cuts=st.lists(st.integers(0, 180), max_size=10),
)
def test_lines_survive_any_cut_of_the_bytes(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    splitter = LineSplitter()
    got = [line for start, end in pairwise(places) for line in splitter.feed(stream[start:end])]
    assert got == lines


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"x" * 11], id="unfinished, in one piece"),
        pytest.param([b"x" * 6, b"x" * 5], id="unfinished, in two"),
        pytest.param([b"x" * 11 + b"\n"], id="finished"),
        pytest.param([b"ok\nx", b"x" * 10 + b"\n"], id="finished by the second piece"),
    ],
)
def test_a_line_beyond_the_limit_is_an_error(pieces: list[bytes]) -> None:
    splitter = LineSplitter(max_line=10)
    *before, last = pieces
    for piece in before:
        splitter.feed(piece)
    with pytest.raises(ChannelError, match="longer than 10 bytes"):
        splitter.feed(last)


def test_a_line_at_the_limit_is_accepted() -> None:
    splitter = LineSplitter(max_line=10)
    assert splitter.feed(b"x" * 10 + b"\n" + b"y" * 10) == [b"x" * 10]
    assert splitter.feed(b"\n") == [b"y" * 10]


def line(text: str) -> LogLine:
    return LogLine(level="info", message=text)


class End:
    """One end of a channel, with the messages it received."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[FromWorker] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.errors: list[tuple[str, Exception]] = []
        self.channel = Channel(
            from_workers(), self._hear, self.lost.set, lambda *error: self.errors.append(error)
        )

    def _hear(self, message: FromWorker) -> None:
        if isinstance(message, Released):
            raise ZeroDivisionError
        self.heard.put_nowait(message)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    pair = End(), End()
    for end, sock in zip(pair, socket.socketpair(), strict=True):
        await end.channel.open(sock)
    yield pair
    for end in pair:
        end.channel.close()
        await end.lost.wait()


@pytest.fixture
async def raw() -> AsyncIterator[tuple[End, socket.socket]]:
    end = End()
    ours, theirs = socket.socketpair()
    await end.channel.open(ours)
    with theirs:
        yield end, theirs
        end.channel.abort()
        await end.lost.wait()


async def test_messages_pass_both_ways_in_order(ends: tuple[End, End]) -> None:
    here, there = ends
    for number in range(50):
        assert here.channel.send(line(f"{number}: a\nb\u00e9"))
    assert [await there.heard.get() for _ in range(50)] == [line(f"{n}: a\nb\u00e9") for n in range(50)]
    assert there.channel.send(Ready())
    assert await here.heard.get() == Ready()


async def test_sent_messages_arrive_before_the_end(ends: tuple[End, End]) -> None:
    here, there = ends
    last = line("x" * 1_000_000)
    here.channel.send(last)
    here.channel.close()
    await there.lost.wait()
    assert await there.heard.get() == last


async def test_a_lost_channel_reports_it_and_sends_no_more(raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    theirs.close()
    await end.lost.wait()
    assert not end.channel.send(Heartbeat())


async def test_a_peer_that_does_not_read_costs_bounded_memory(raw: tuple[End, socket.socket]) -> None:
    end, _ = raw
    message = line("x" * (1 << 20))
    sent = sum(end.channel.send(message) for _ in range(40))
    assert MAX_BUFFERED >> 20 <= sent <= (MAX_BUFFERED >> 20) + 2


async def test_a_message_too_long_for_the_receiver_is_not_sent(raw: tuple[End, socket.socket]) -> None:
    end, _ = raw
    assert not end.channel.send(line("x" * MAX_LINE))
    assert end.channel.send(Heartbeat())


@pytest.mark.parametrize("garbage", [b"{not json}\n", b"\xff\xfe\n", b"\n", b'{"type":"re\n'])
async def test_garbage_ends_the_channel(raw: tuple[End, socket.socket], garbage: bytes) -> None:
    end, theirs = raw
    theirs.sendall(b'{"type":"ready"}\n')
    assert await end.heard.get() == Ready()
    theirs.sendall(garbage)
    await end.lost.wait()


def test_a_full_batch_of_access_log_lines_fits_a_message() -> None:
    from balancer.runtime.serving import LINES_PER_MESSAGE

    assert LINES_PER_MESSAGE * 60_000 < channel_module.MAX_LINE


async def test_an_exception_of_a_handler_is_reported_and_the_next_message_is_handled(
    ends: tuple[End, End],
) -> None:
    ours, theirs = ends
    ours.channel.send(Released(rows=(1,)))
    ours.channel.send(Ready())
    assert await theirs.heard.get() == Ready()
    ((what, error),) = theirs.errors
    assert (what, type(error)) == ("Released", ZeroDivisionError)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b"7", "Expected `object`, got `int`"),
        (b'{"type":"gossip"}', "Invalid value 'gossip' - at `$.type`"),
        (b'{"type":"drain"}', "Invalid value 'drain' - at `$.type`"),  # a message of the other direction
        (b'{"rows":[]}', "missing required field `type`"),
        (b'{"type":"released"}', "missing required field `rows`"),
        (b'{"type":"released","rows":[1,"2"]}', "Expected `int`, got `str` - at `$.rows[1]`"),
        (b'{"type":"released","rows":[],"why":""}', "unknown field `why`"),
    ],
)
async def test_an_invalid_message_is_reported_with_its_path_and_the_next_one_is_handled(
    raw: tuple[End, socket.socket], bad: bytes, text: str
) -> None:
    end, theirs = raw
    theirs.sendall(bad + b'\n{"type":"ready"}\n')
    assert await end.heard.get() == Ready()
    ((what, error),) = end.errors
    assert (what, type(error)) == ("of unknown kind", ShapeError)
    assert text in str(error)
