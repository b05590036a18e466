"""What the first bytes of a connection are."""

import pytest

from balancer.clients.first_bytes import MOST_PEEKED, Opening, https_url, look_at

RECORD = b"\x16\x03\x01\x00\x04abcd"


@pytest.mark.parametrize(
    ("data", "opening", "wanted"),
    [
        pytest.param(b"", Opening.UNKNOWN, 1, id="nothing"),
        pytest.param(RECORD[:1], Opening.UNKNOWN, 5, id="the type"),
        pytest.param(RECORD[:4], Opening.UNKNOWN, 5, id="half a header"),
        pytest.param(RECORD[:5], Opening.UNKNOWN, 9, id="a header"),
        pytest.param(RECORD[:8], Opening.UNKNOWN, 9, id="all but a byte"),
        pytest.param(RECORD, Opening.TLS, 0, id="a record"),
        pytest.param(RECORD + b"more", Opening.TLS, 0, id="a record, and more"),
        pytest.param(b"\x16\x03\x03\x40\x00", Opening.UNKNOWN, MOST_PEEKED, id="the largest"),
        pytest.param(b"\x16\x03\x03\x40\x01", Opening.OTHER, 0, id="too large"),
        pytest.param(b"\x16\x03\x03\x00\x00", Opening.OTHER, 0, id="empty"),
        pytest.param(b"\x16\x02", Opening.OTHER, 0, id="another version"),
        pytest.param(b"\x15\x03\x01\x00\x02", Opening.OTHER, 0, id="an alert"),
        pytest.param(b"G", Opening.UNKNOWN, 2, id="a letter"),
        pytest.param(b"OPTIONS", Opening.UNKNOWN, 8, id="a method"),
        pytest.param(b"GET ", Opening.HTTP, 0, id="a method, and its end"),
        pytest.param(b"get ", Opening.OTHER, 0, id="not in lower case"),
        pytest.param(b"GOT ", Opening.OTHER, 0, id="not a method"),
    ],
)
def test_the_first_bytes_show_what_a_client_speaks(data: bytes, opening: Opening, wanted: int) -> None:
    assert look_at(data) == (opening, wanted)


def test_looking_at_many_white_spaces_is_not_slow() -> None:
    assert https_url(b"GET / HTTP/1.1\r\nHost:" + b" " * 100_000, 443) == ""
    assert https_url(b"GET / HTTP/1.1\r\n" + b"\r\nHost:" * 100_000, 443) == ""
