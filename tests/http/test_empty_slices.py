"""Input for which a slice would end before it starts: empty in plain Python, an error in compiled code."""

import pytest

from balancer.errors import ProtocolError
from balancer.http.patience import read_patiently
from balancer.http.syntax import origin_target


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET /x HTTP/1.1\r\n", b"/x"),
        (b"GET  HTTP/1.1\r\n", b""),
        (b"GET HTTP/1.1\r\n", b""),
        (b"GETHTTP/1.1\r\n", b""),
        (b"GET\r\n", b""),
    ],
)
def test_a_request_line_without_a_target_has_none(line: bytes, target: bytes) -> None:
    assert origin_target(line, b"GET", 1) == target


@pytest.mark.parametrize("start", [b"\n", b"\n\n", b"\r\n", b"\n\nHTTP/1.1 200 OK\r\n\r\n"])
def test_a_response_that_begins_with_an_empty_line_is_malformed(start: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_patiently(start, b"GET", 8192, 100)
