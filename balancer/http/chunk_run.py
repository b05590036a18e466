"""Decodes runs of equal chunks, as many apps and hostile clients send them, without a step per chunk.

Chunks of one size repeat with a constant stride, so each byte of their framing forms a column of every
stride-th byte: a slice with a step compares or deletes a column in C.
"""

from typing import Final

LONGEST: Final = 2048  # bytes of payload per chunk: a read contains few longer chunks


def count_equal(data: bytes, start: int, size_line: bytes, length: int) -> int:
    """How many whole chunks of `length` bytes follow one another from `start`, each with the same `size_line`
    (including its CRLF)."""
    stride = len(size_line) + length + 2
    count = (len(data) - start) // stride
    last = stride - 2
    for offset, byte in (*((at, size_line[at : at + 1]) for at in range(len(size_line))), (last, b"\r"),
                         (last + 1, b"\n")):  # fmt: skip
        if not count:
            return 0
        column = data[start + offset : start + count * stride : stride]
        count = len(column) - len(column.lstrip(byte))
    return count


def payload_of(data: bytes, start: int, size_line: bytes, length: int, count: int) -> bytes:
    """The payload of `count` such chunks."""
    stride = len(size_line) + length + 2
    if length == 1:
        return data[start + len(size_line) : start + count * stride : stride]
    payload = bytearray(data[start : start + count * stride])
    for _ in range(2):  # the CRLF after each
        del payload[stride - 1 :: stride]
        stride -= 1
    for _ in range(len(size_line)):
        del payload[::stride]
        stride -= 1
    return bytes(payload)
