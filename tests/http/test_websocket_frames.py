"""Where a server's WebSocket frames end."""

from random import Random

import pytest

from balancer.http.websocket_frames import SERVICE_RESTART, FrameEnds


def frame(size: int, opcode: int = 0x82) -> bytes:
    """An unmasked frame with a payload of `size` bytes, that look like heads."""
    if size < 126:
        head = bytes([opcode, size])
    elif size < 1 << 16:
        head = bytes([opcode, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([opcode, 127]) + size.to_bytes(8, "big")
    return head + (b"\x82\x05" * (size // 2 + 1))[:size]


SIZES = [0, 1, 2, 3, 124, 125, 126, 127, 128, 300, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 4096, 1 << 20])
def test_it_knows_after_each_piece_whether_a_frame_has_ended(size: int, piece: int) -> None:
    if piece == 1 and size > 1000:
        piece = 997
    data = frame(size) + frame(3)
    ends = FrameEnds()
    borders = {0, len(frame(size)), len(data)}
    for place in range(0, len(data), piece):
        part = data[place : place + piece]
        ahead = ends.first_end(part)
        coming = sorted(border for border in borders if border >= place)
        assert ahead == (coming[0] - place if coming[0] <= place + len(part) else -1)
        ends.passed(part)
        assert ends.between == (place + len(part) in borders)
    assert not ends.lost


@pytest.mark.parametrize("seed", range(30))
def test_it_does_not_matter_how_frames_are_cut(seed: int) -> None:
    random = Random(seed)
    whole = b"".join(frame(random.choice([0, 1, 7, 125, 126, 200, 66_000])) for _ in range(8))
    pieces = random.choice([[1, 2, 3, 100, 5_000], [500, 40_000]])
    ends = FrameEnds()
    place = 0
    while place < len(whole):
        size = random.choice(pieces)
        ends.passed(whole[place : place + size])
        place += size
    assert ends.between


NO_FRAMES = {
    "masked, as only clients do": b"\x81\x82\0\0\0\0hi",
    "a length beyond 63 bits": b"\x82\x7f\x80" + bytes(7),
    "masked, with an extended length": b"\x82\xfe\x01\x00",
}


@pytest.mark.parametrize("case", NO_FRAMES)
def test_what_no_server_sends_is_not_followed(case: str) -> None:
    ends = FrameEnds()
    ends.passed(frame(3) + NO_FRAMES[case])
    assert ends.lost
    ends.passed(frame(3))
    assert not ends.between
    assert ends.first_end(frame(3)) == -1


def test_the_close_frame_is_one() -> None:
    ends = FrameEnds()
    ends.passed(SERVICE_RESTART)
    assert ends.between
    assert SERVICE_RESTART == b"\x88\x02\x03\xf4"
