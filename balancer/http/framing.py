"""Message boundaries: where a message ends is decided here and nowhere else (RFC 9112 section 6).

httptools parses heads but cannot be trusted with boundaries: it accepts `Transfer-Encoding: gzip, chunked`
and a coding in HTTP/1.0, and knows nothing about HEAD. So the functions here take a head's framing fields as
bytes, and return one int: the number of body bytes, or one of the two codes below.
"""

from typing import Final

from balancer.errors import (
    CODING_NOT_SUPPORTED,
    MALFORMED_REQUEST,
    MALFORMED_RESPONSE,
    Failure,
    ProtocolError,
)

NO_BODY: Final = 0
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2  # responses only

_MAX_DIGITS: Final = 18  # without leading zeros: lengths fit a signed 64-bit cell, whatever is added to them


def request_length(minor: int, content_length: bytes | None, transfer_encoding: bytes | None) -> int:
    """The body of a request: its length in bytes, or CHUNKED.

    `minor` is the HTTP/1.x minor version; the two fields are without surrounding white space, None if absent.
    Raises ProtocolError for what RFC 9112 section 6.3 calls unrecoverable or a smuggling attempt.
    """
    if transfer_encoding is None:
        if content_length is None:
            return NO_BODY
        return _number(content_length, MALFORMED_REQUEST)
    if content_length is not None:
        raise ProtocolError(MALFORMED_REQUEST, "both Content-Length and Transfer-Encoding")
    if minor == 0:  # RFC 9112 section 6.1: the framing is faulty, whatever the value
        raise ProtocolError(MALFORMED_REQUEST, "Transfer-Encoding in HTTP/1.0")
    codings = [coding.strip(b" \t").lower() for coding in transfer_encoding.split(b",")]
    if codings == [b"chunked"]:
        return CHUNKED
    if codings[-1] == b"chunked" and b"chunked" not in codings[:-1] and all(codings):
        raise ProtocolError(CODING_NOT_SUPPORTED, "a transfer coding other than chunked")
    raise ProtocolError(MALFORMED_REQUEST, "Transfer-Encoding does not end in one chunked")


def response_length(
    method: bytes, status: int, minor: int, content_length: bytes | None, transfer_encoding: bytes | None
) -> int:
    """The body of a final response to `method`: its length in bytes, CHUNKED or UNTIL_CLOSE.

    The fields are as for `request_length`. Raises ProtocolError if they are not exact; `patience` then tries
    to repair them.
    """
    if transfer_encoding is not None:
        # RFC 9112 section 6.3 reads other codings until close; we requested none, so they are a fault.
        if minor == 0 or content_length is not None or transfer_encoding.lower() != b"chunked":
            raise ProtocolError(MALFORMED_RESPONSE, "Transfer-Encoding is not just chunked")
        length = CHUNKED
    elif content_length is not None:
        length = _number(content_length, MALFORMED_RESPONSE)
    else:
        length = UNTIL_CLOSE
    if method == b"HEAD" or status == 204 or status == 304:
        return NO_BODY
    return length


def _number(content_length: bytes, failure: Failure) -> int:
    if not content_length.isdigit():  # of bytes: only ASCII digits
        raise ProtocolError(failure, "Content-Length is not a plain number")
    if len(content_length) > _MAX_DIGITS:
        content_length = content_length.lstrip(b"0") or b"0"
        if len(content_length) > _MAX_DIGITS:
            raise ProtocolError(failure, "Content-Length is too large")
    return int(content_length)
