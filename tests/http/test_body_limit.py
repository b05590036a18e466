"""The limit on bodies: the first fault decides, however bytes arrive."""

import pytest

from balancer.errors import BODY_TOO_LARGE, MALFORMED_REQUEST, Failure, ProtocolError
from balancer.http.body import body_decoder
from balancer.http.framing import CHUNKED

CASES = {
    "at the limit": (b"4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n", None),
    "above it": (b"4\r\nabcd\r\n7\r\nefghijk\r\n0\r\n\r\n", BODY_TOO_LARGE),
    "above it, and malformed after that": (b"b\r\nabcdefghijkxyz", BODY_TOO_LARGE),
    "malformed, and above it after that": (b"4\r\nabcdX\r\nb\r\n", MALFORMED_REQUEST),
}


def failure_of(pieces: list[bytes]) -> Failure | None:
    decoder = body_decoder(CHUNKED, MALFORMED_REQUEST, 1000, 10)
    try:
        for piece in pieces:
            decoder.feed(piece)
    except ProtocolError as error:
        return error.failure
    return None


@pytest.mark.parametrize(("data", "failure"), CASES.values(), ids=CASES.keys())
def test_limit_on_chunked_bodies(data: bytes, failure: Failure | None) -> None:
    assert failure_of([data]) == failure
    assert failure_of([data[place : place + 1] for place in range(len(data))]) == failure
    for cut in range(1, len(data)):
        assert failure_of([data[:cut], data[cut:]]) == failure


@pytest.mark.parametrize(("length", "allowed"), [(10, True), (11, False)])
def test_limit_on_bodies_with_a_length(length: int, allowed: bool) -> None:
    if allowed:
        assert body_decoder(length, MALFORMED_REQUEST, 1000, 10).feed(b"x" * length) == b"x" * length
    else:
        with pytest.raises(ProtocolError) as caught:
            body_decoder(length, MALFORMED_REQUEST, 1000, 10)
        assert caught.value.failure is BODY_TOO_LARGE
