"""The long body of a slow download: numbered lines, so that each byte is known by its position."""

LINE = 16  # bytes
LINES = 4096  # in one piece
PIECE = LINE * LINES  # bytes


def piece(number: int) -> bytes:
    """The piece with this number, counted from 0."""
    first = number * LINES
    return b"".join(b"%015d\n" % line for line in range(first, first + LINES))
