"""Outgoing heads: fields that do not concern proxies are forwarded unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.fields import REQUEST_KINDS, RESPONSE_KINDS
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.response_head import parse_response_head
from balancer.http.wire import render_informational, render_request, render_response

PEER = Forwarding([]).peer("203.0.113.5")
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def rendered(head: RequestHead, authority: bytes = b"10.0.0.1:8000") -> bytes:
    """The forwarded head without the fields about the client, which stand at its end."""
    first = render_request(head, PEER, b"id-1", authority)
    assert render_request(head, PEER, b"id-2", authority) == first.replace(b"id-1", b"id-2")
    said = PEER.lines(head) + b"X-Request-ID: id-1\r\n\r\n"
    assert first.endswith(said)
    return first.removesuffix(said)


names = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
values = st.lists(st.sampled_from([b"\t", b" ", b"a", b"Z", b":", b",", b"\x80", b"\xff", b"~"])).map(
    b"".join
)


def line_of(reserved: dict[bytes, int]) -> st.SearchStrategy[bytes]:
    """A header line of any form, other than the `reserved` fields and their look-alikes."""
    other = names.filter(lambda name: name.lower().replace(b"_", b"-") not in reserved)
    return st.builds(lambda name, value: name + b":" + value, other, values)


@given(st.lists(line_of(REQUEST_KINDS), max_size=8), st.integers(0, 8))
def test_request_lines_keep_order_case_duplicates_and_obs_text(lines: list[bytes], place: int) -> None:
    lines = [*lines[:place], b"Host: a", *lines[place:]]
    raw = b"\r\n".join([b"GET /x HTTP/1.1", *lines, b"", b""])
    head = parse_request_head(raw, 8192, 100)
    assert rendered(head) == raw[:-2]


@given(st.lists(line_of(RESPONSE_KINDS), max_size=8), st.sampled_from([b"", b" ", b" OK", b" \xff\t:"]))
def test_response_lines_keep_order_case_duplicates_and_obs_text(lines: list[bytes], phrase: bytes) -> None:
    raw = b"\r\n".join([b"HTTP/1.1 200" + phrase, *lines, b"Content-Length: 0", b"", b""])
    sent = render_response(parse_response_head(raw, b"GET", 100), 1, False, DATE)
    start = b"HTTP/1.1 200" + (phrase or b" ")
    assert sent == b"\r\n".join([start, *lines, b"Content-Length: 0", DATE, b""])


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (b"GET /x?y HTTP/1.1", b"GET /x?y HTTP/1.1"),
        (b"GET /x?y HTTP/1.0", b"GET /x?y HTTP/1.1"),
        (b"GET http://b/x?y HTTP/1.1", b"GET /x?y HTTP/1.1"),
        (b"OPTIONS http://b HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ],
)
def test_the_request_line_is_always_1_1_and_origin_form(start: bytes, line: bytes) -> None:
    head = parse_request_head(start + b"\r\nHost: a\r\n\r\n", 8192, 100)
    assert rendered(head).split(b"\r\n")[0] == line


def test_the_authority_replaces_host() -> None:
    head = parse_request_head(b"GET http://b:8/ HTTP/1.1\r\nA: 1\r\nHOST:a\r\nB: 2\r\n\r\n", 8192, 100)
    assert rendered(head) == b"GET / HTTP/1.1\r\nA: 1\r\nHost: b:8\r\nB: 2\r\n"


def test_an_http_1_0_request_without_host_gets_the_upstreams() -> None:
    head = parse_request_head(b"GET / HTTP/1.0\r\nA: 1\r\n\r\n", 8192, 100)
    for authority in (b"[::1]:80", b"10.0.0.2:8000"):  # a retry may go elsewhere
        sent = rendered(head, authority)
        assert sent == b"GET / HTTP/1.1\r\nA: 1\r\nHost: %b\r\n" % authority


def test_a_reused_head_gets_its_new_target() -> None:
    raw = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    head = parse_request_head(raw % b"/1", 8192, 100)
    assert rendered(head) == (raw % b"/1")[:-2]
    again = parse_request_head(raw % b"/2", 8192, 100, head)
    assert rendered(again) == (raw % b"/2")[:-2]


@pytest.mark.parametrize(
    ("sent", "minor", "close", "tail"),
    [
        pytest.param(b"Content-Length: 0", 1, False, b"Content-Length: 0", id="length"),
        pytest.param(b"Content-Length: 0", 1, True, b"Content-Length: 0\r\nConnection: close", id="close"),
        pytest.param(
            b"Content-Length: 0", 0, False, b"Content-Length: 0\r\nConnection: keep-alive", id="1.0"
        ),
        pytest.param(b"X: y", 1, False, b"X: y\r\nTransfer-Encoding: chunked", id="until-close"),
        pytest.param(b"X: y", 0, True, b"X: y\r\nConnection: close", id="until-close-1.0"),
        pytest.param(b"Transfer-Encoding: chunked", 1, False, b"Transfer-Encoding: chunked", id="chunked"),
        pytest.param(b"Transfer-Encoding: chunked", 0, True, b"Connection: close", id="chunked-1.0"),
        pytest.param(
            b"Connection: x\r\nX: y\r\nContent-Length: 0", 1, False, b"Content-Length: 0", id="nominated"
        ),
    ],
)
def test_response_framing_and_connection(sent: bytes, minor: int, close: bool, tail: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nDate: now\r\n%b\r\n\r\n" % sent
    rendered = render_response(parse_response_head(raw, b"GET", 100), minor, close, DATE)
    assert rendered == b"HTTP/1.1 200 OK\r\nDate: now\r\n%b\r\n\r\n" % tail


@pytest.mark.parametrize(
    ("raw", "rendered"),
    [
        pytest.param(
            b"HTTP/1.1 103 Early\r\nLink: <a>\r\nConnection: close\r\nContent-Length: 3\r\n\r\n",
            b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n",
            id="hints",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", id="bare"),
        pytest.param(
            b"HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n",
            b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            id="switching",
        ),
    ],
)
def test_informational_heads(raw: bytes, rendered: bytes) -> None:
    assert render_informational(parse_response_head(raw, b"GET", 100)) == rendered
