"""Runs of equal chunks are counted and decoded as they would be one by one, whatever follows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.chunk_run import count_equal, payload_of

SIZES = st.integers(1, 40)


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@given(length=SIZES, count=st.integers(0, 30), before=st.binary(max_size=9), after=st.binary(max_size=60))
def test_whole_chunks_with_the_same_size_line_are_counted(
    length: int, count: int, before: bytes, after: bytes
) -> None:
    payloads = [bytes([65 + number]) * length for number in range(count)]
    data = before + b"".join(map(chunk, payloads)) + after
    size_line = b"%x\r\n" % length
    found = count_equal(data, len(before), size_line, length)
    # The bytes behind the run may happen to be one more chunk.
    stride = len(size_line) + length + 2
    expected = 0
    at = len(before)
    while (
        len(data) >= at + stride
        and data.startswith(size_line, at)
        and data[at + stride - 2 : at + stride] == b"\r\n"
    ):
        expected += 1
        at += stride
    assert found == expected >= count
    payload = payload_of(data, len(before), size_line, length, count)
    assert payload == b"".join(payloads)


@pytest.mark.parametrize("spoilt", range(6))
def test_a_wrong_framing_byte_ends_the_run_before_its_chunk(spoilt: int) -> None:
    good = chunk(b"a")
    bad = bytearray(good)
    bad[spoilt] = ord("!")
    data = good * 5 + bytes(bad) + good * 5
    is_payload = spoilt == good.index(b"a")
    assert count_equal(data, 0, b"1\r\n", 1) == (11 if is_payload else 5)


def test_a_size_line_with_other_digits_ends_the_run() -> None:
    assert count_equal(b"a\r\n" + b"x" * 10 + b"\r\n" + b"A\r\n", 0, b"a\r\n", 10) == 1
    assert count_equal(b"01\r\nx\r\n1\r\nx\r\n", 0, b"01\r\n", 1) == 1
