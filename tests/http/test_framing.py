"""Where messages end: the decision tables of RFC 9112 section 6.3."""

import pytest

from balancer.errors import (
    CODING_NOT_SUPPORTED,
    MALFORMED_REQUEST,
    MALFORMED_RESPONSE,
    Failure,
    ProtocolError,
)
from balancer.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, request_length, response_length

CODINGS = [
    (b"chunked", None),
    (b"CHUNKED", None),
    (b"gzip, chunked", CODING_NOT_SUPPORTED),
    (b"gzip,deflate , chunked", CODING_NOT_SUPPORTED),
    (b"", MALFORMED_REQUEST),
    (b"gzip", MALFORMED_REQUEST),
    (b"identity", MALFORMED_REQUEST),
    (b"chunked, gzip", MALFORMED_REQUEST),
    (b"chunked, chunked", MALFORMED_REQUEST),
    (b"chunked, gzip, chunked", MALFORMED_REQUEST),
    (b"chunked,", MALFORMED_REQUEST),
    (b",chunked", MALFORMED_REQUEST),
    (b"gzip,,chunked", MALFORMED_REQUEST),
    (b"\x0bchunked", MALFORMED_REQUEST),
    (b"chunked\x00", MALFORMED_REQUEST),
    (b"chunked;x", MALFORMED_REQUEST),
    (b'"chunked"', MALFORMED_REQUEST),
    (b"chun ked", MALFORMED_REQUEST),
]
BAD_LENGTHS = [
    b"", b"+1", b"-1", b"1 ", b" 1", b"1,1", b"1, 1", b"0x1", b"1.0", b"1e3", b"1_0", b"\xb2", b"\xd9\xa1",
    b"1\n", b"1;", b"9" * 19,
]  # fmt: skip


@pytest.mark.parametrize(("coding", "failure"), CODINGS)
def test_request_transfer_coding(coding: bytes, failure: Failure | None) -> None:
    if failure is None:
        assert request_length(1, None, coding) == CHUNKED
        return
    with pytest.raises(ProtocolError) as caught:
        request_length(1, None, coding)
    assert caught.value.failure is failure


@pytest.mark.parametrize("coding", [coding for coding, _ in CODINGS])
@pytest.mark.parametrize(("minor", "length"), [(1, b"0"), (1, b"5"), (0, None), (0, b"5")])
def test_transfer_coding_with_a_length_or_in_1_0_is_always_malformed(
    minor: int, length: bytes | None, coding: bytes
) -> None:
    with pytest.raises(ProtocolError) as caught:
        request_length(minor, length, coding)
    assert caught.value.failure is MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("length", "size"), [(None, 0), (b"0", 0), (b"12", 12), (b"007", 7), (b"9" * 18, 10**18 - 1)]
)
def test_request_length(length: bytes | None, size: int) -> None:
    assert request_length(1, length, None) == request_length(0, length, None) == size


@pytest.mark.parametrize("length", BAD_LENGTHS)
def test_invalid_lengths_are_refused(length: bytes) -> None:
    with pytest.raises(ProtocolError):
        request_length(1, length, None)
    for method, status in ((b"GET", 200), (b"HEAD", 200), (b"GET", 304)):
        with pytest.raises(ProtocolError) as caught:
            response_length(method, status, 1, length, None)
        assert caught.value.failure is MALFORMED_RESPONSE


@pytest.mark.parametrize(
    ("method", "status", "length", "coding", "expected"),
    [
        pytest.param(b"GET", 200, b"5", None, 5, id="length"),
        pytest.param(b"GET", 200, None, b"chunked", CHUNKED, id="chunked"),
        pytest.param(b"GET", 200, None, None, UNTIL_CLOSE, id="close"),
        pytest.param(b"POST", 500, None, None, UNTIL_CLOSE, id="close-of-an-error"),
        pytest.param(b"HEAD", 200, b"5", None, NO_BODY, id="head-length"),
        pytest.param(b"HEAD", 200, None, b"chunked", NO_BODY, id="head-chunked"),
        pytest.param(b"HEAD", 200, None, None, NO_BODY, id="head-neither"),
        pytest.param(b"GET", 204, b"5", None, NO_BODY, id="204"),
        pytest.param(b"GET", 304, b"5", None, NO_BODY, id="304"),
        pytest.param(b"GET", 205, b"0", None, NO_BODY, id="205"),
    ],
)
def test_response_framing(
    method: bytes, status: int, length: bytes | None, coding: bytes | None, expected: int
) -> None:
    assert response_length(method, status, 1, length, coding) == expected


@pytest.mark.parametrize(
    ("minor", "length", "coding"),
    [(1, b"5", b"chunked"), (0, None, b"chunked"), (1, None, b"gzip"), (1, None, b"gzip, chunked"),
     (1, None, b"chunked, chunked"), (1, None, b"")],
)  # fmt: skip
@pytest.mark.parametrize(("method", "status"), [(b"GET", 200), (b"HEAD", 200), (b"GET", 304), (b"GET", 204)])
def test_ambiguous_response_framing(
    method: bytes, status: int, minor: int, length: bytes | None, coding: bytes
) -> None:
    with pytest.raises(ProtocolError) as caught:
        response_length(method, status, minor, length, coding)
    assert caught.value.failure is MALFORMED_RESPONSE
