"""A client's view of a response in words: equal words mean equal views."""

import pytest

from loadtests.hostile.differential import read

HEAD = b"HTTP/1.1 200 OK\r\n"
LONG = b"Content-Length: 5\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "received", "said", "whole", "until_close"),
    [
        pytest.param(b"GET", HEAD + LONG + b"hello", "200 'hello'", True, False, id="length"),
        pytest.param(
            b"GET", HEAD + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", "200 'hello'", True, False, id="chunks"
        ),
        pytest.param(b"GET", HEAD + b"\r\nhello", "200 'hello'", False, True, id="until it closes"),
        pytest.param(b"GET", HEAD + LONG + b"hell", "200 'hell'", False, False, id="not all of it"),
        pytest.param(b"GET", HEAD + CHUNKED + b"5\r\nhel", "200 'hel'", False, False, id="nor of chunks"),
        pytest.param(b"HEAD", HEAD + LONG, "200", True, False, id="HEAD"),
        pytest.param(
            b"GET",
            b"HTTP/1.1 102 P\r\n\r\n" * 3 + HEAD + LONG + b"hello",
            "3 x 102 200 'hello'",
            True,
            False,
            id="1xx",
        ),
        pytest.param(
            b"GET", b"ICY 200 OK\r\n\r\n", "no head: 'ICY 200 OK\\r\\n\\r\\n'", False, False, id="no HTTP"
        ),
        pytest.param(b"GET", b"", "", False, False, id="nothing"),
    ],
)
def test_an_observation_in_words(
    method: bytes, received: bytes, said: str, whole: bool, until_close: bool
) -> None:
    assert read(received, method) == (said, whole, until_close)
