"""The line writer: order is kept; a slow or closed reader costs lines, but never time."""

import errno
import os
from collections.abc import Iterator
from functools import partial
from threading import Event

import pytest

from balancer.telemetry.line_writer import LineWriter

PATIENCE = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


def wait_then(event: Event, data: bytes) -> bytes:
    event.wait(PATIENCE)
    return data


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    for number in range(100):
        writer.write(partial(b"%d\n".__mod__, number))
    writer.close(PATIENCE)
    assert os.read(reading, 4096) == b"".join(b"%d\n" % number for number in range(100))
    assert writer.dropped == 0


def test_a_full_queue_drops_and_counts(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, max_lines=10)
    go = Event()
    writer.write(lambda: wait_then(go, b"first\n"), lines=6)
    writer.write(lambda: b"too much\n", lines=5)
    writer.write(lambda: b"fits\n", lines=4)
    go.set()
    writer.close(PATIENCE)
    assert (os.read(reading, 4096), writer.dropped) == (b"first\nfits\n", 5)


def test_a_closed_reader_is_counted_and_not_raised(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    writer = LineWriter(writing)
    writer.write(lambda: b"one\n")
    writer.write(lambda: b"two\nthree\n", lines=2)
    writer.close(PATIENCE)
    assert writer.dropped == 3


def fails(error: Exception) -> bytes:
    raise error


@pytest.mark.parametrize(
    ("error", "later"),
    [
        pytest.param(OSError(errno.ENOSPC, "full"), b"later\n", id="disk full"),
        pytest.param(OSError(errno.EIO, "bad sector"), b"later\n", id="disk error"),
        pytest.param(ValueError("a bug"), b"later\n", id="bug in rendering"),
        pytest.param(OSError(errno.EPIPE, "no reader"), b"", id="no reader"),
        pytest.param(OSError(errno.EBADF, "closed"), b"", id="closed"),
    ],
)
def test_only_a_closed_descriptor_ends_the_writing(
    pipe: tuple[int, int], error: Exception, later: bytes
) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    writer.write(partial(fails, error), lines=2)
    writer.write(lambda: b"later\n")
    writer.close(PATIENCE)
    os.close(writing)
    assert (os.read(reading, 4096), writer.dropped) == (later, 2 if later else 3)


def test_a_full_disk_loses_only_what_does_not_fit() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LineWriter(full.fileno())
        for _ in range(3):
            writer.write(lambda: b"a line\n")
        writer.close(PATIENCE)
        assert writer.dropped == 3


def test_a_blocked_reader_does_not_delay_the_exit(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    writer.write(lambda: b"x" * (1 << 20))
    writer.close(0.01)
    assert writer.dropped == 0  # it is still being written
    left = 1 << 20
    while left:  # lets the thread end
        left -= len(os.read(reading, 1 << 16))


def test_a_descriptor_made_non_blocking_by_others_loses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    sent = b"y" * (1 << 20)
    writer.write(lambda: sent)
    got = b""
    while len(got) < len(sent):
        got += os.read(reading, 1 << 16)
    writer.close(PATIENCE)
    assert (got == sent, writer.dropped) == (True, 0)
