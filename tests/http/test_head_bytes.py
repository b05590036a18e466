"""Which bytes are allowed where in a head; and remembered lines never change a verdict."""

from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import Failure, ProtocolError
from balancer.http.fields import CONNECTION, REQUEST_KINDS, Field, FieldTable
from balancer.http.request_head import parse_request_head
from balancer.http.response_head import parse_response_head

TOKEN_BYTES = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
VALUE_BYTES = frozenset([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
TARGET_BYTES = frozenset(range(0x21, 0x7F)) - {ord("#")}

unique = count()


def request(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> Failure | None:
    """The failure of a request head, None if it is accepted."""
    try:
        parse_request_head(b"\r\n".join([start, b"Host: a", *lines, b"", b""]), 8192, 100)
    except ProtocolError as error:
        return error.failure
    return None


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> Failure | None:
    try:
        parse_response_head(b"\r\n".join([start, *lines, b"", b""]), b"GET", 100)
    except ProtocolError as error:
        return error.failure
    return None


def never_seen() -> bytes:
    """A line with a name that no head has had before, so that httptools checks the head, whatever its other
    lines."""
    return b"X-Never-Seen-%d: y" % next(unique)


@pytest.mark.parametrize("place", [b"%b", b" %b", b"a%b", b"a %bb"])
@pytest.mark.parametrize(
    "name",
    [b"X-Any", b"Connection", b"Upgrade", b"TE", b"Expect", b"Keep-Alive", b"Forwarded", b"User-Agent"],
)
def test_bytes_allowed_in_values(name: bytes, place: bytes) -> None:
    lines = {byte: name + b":" + place % bytes([byte]) for byte in range(256)}
    assert {byte for byte, line in lines.items() if request(line) is None} == VALUE_BYTES
    assert {byte for byte, line in lines.items() if response(line) is None} == VALUE_BYTES


@pytest.mark.parametrize("place", [b"%b5", b"5%b", b"5%b5", b" %bchunked", b"chunked%b", b"chu%bnked"])
@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host"])
def test_bytes_never_allowed_in_framing_fields(name: bytes, place: bytes) -> None:
    for byte in set(range(256)) - VALUE_BYTES:
        line = name + b":" + place % bytes([byte])
        assert request(line) is not None
        assert response(line) is not None


@pytest.mark.parametrize(
    "place", [b"%bX: y", b"X%b: y", b"X%bZ: y", b"Content-Length%b: 0", b"%bTransfer-Encoding: x"]
)
def test_bytes_allowed_in_names(place: bytes) -> None:
    lines = {byte: place % bytes([byte]) for byte in range(256) if byte != ord(":")}
    assert {byte for byte, line in lines.items() if request(line) is None} == TOKEN_BYTES
    assert {byte for byte, line in lines.items() if response(line) is None} == TOKEN_BYTES


@pytest.mark.parametrize("place", [b"/%b", b"/a%bb", b"/a?%bb"])
def test_bytes_allowed_in_targets(place: bytes) -> None:
    starts = {byte: b"GET %b HTTP/1.1" % (place % bytes([byte])) for byte in range(256)}
    for lines in ([], [never_seen()]):
        accepted = {byte for byte, start in starts.items() if request(*lines, start=start) is None}
        assert accepted == TARGET_BYTES


REQUEST_LINES = [
    b"Host: b", b"host: a", b"Host: a/b", b"Connection: close", b"Connection: keep-alive, upgrade",
    b"Connection: host, x-a", b"Connection:", b"Content-Length: 0", b"Content-Length: 5",
    b"content-length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Transfer-Encoding: chunked",
    b"transfer-encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked,", b"Transfer-Encoding : chunked", b"Expect: 100-continue",
    b"Upgrade: websocket", b"Upgrade: h2c", b"TE: trailers", b"X-A: 1", b"X_Forwarded_For: 1",
    b"X-Forwarded-For: 1", b"x-request-id: 1", b" folded", b"no colon", b": x", b"X: \x00", b"X: a\nb",
    b"X: a\rb", b"Keep-Alive: 1", b"Cookie: \xff", b"X-Real-IP: 1", b"Proxy: 1",
]  # fmt: skip
STARTS = [
    b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"POST /x HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1",
    b"GET http://b/ HTTP/1.1", b"GET http://b HTTP/1.0", b"BREW / HTTP/1.1", b"CONNECT / HTTP/1.1",
    b"PRI / HTTP/1.1", b"SETUP / HTTP/1.1", b"PURGE / HTTP/1.1", b"SOURCE / HTTP/1.1",
]  # fmt: skip


def request_facts(
    start: bytes, lines: list[bytes], before: tuple[bytes, list[bytes]] | None = None
) -> object:
    previous = None
    if before is not None:
        with suppress(ProtocolError):
            previous = parse_request_head(b"\r\n".join([before[0], *before[1], b"", b""]), 8192, 100)
    try:
        head = parse_request_head(b"\r\n".join([start, *lines, b"", b""]), 8192, 100, previous)
    except ProtocolError as error:
        return error.failure
    kept = [line for line in head.lines if not line.startswith(b"X-Never-Seen")]
    return [
        head.method, head.target, head.minor, head.host, head.length, head.keep_alive, head.websocket,
        head.te_trailers, [(field.name, field.value) for field in head.forwarding or ()], kept,
    ]  # fmt: skip


@given(st.sampled_from(STARTS), st.lists(st.sampled_from(REQUEST_LINES), max_size=6))
def test_the_verdict_on_a_request_does_not_depend_on_earlier_heads(start: bytes, lines: list[bytes]) -> None:
    cold = request_facts(start, [*lines, never_seen()])
    request_facts(start, lines)
    assert request_facts(start, lines) == cold


heads = st.tuples(st.sampled_from(STARTS), st.lists(st.sampled_from(REQUEST_LINES), max_size=3))


@given(heads, heads)
def test_the_verdict_on_a_request_does_not_depend_on_its_connections_past(
    first: tuple[bytes, list[bytes]], second: tuple[bytes, list[bytes]]
) -> None:
    cold = request_facts(second[0], [*second[1], never_seen()])
    assert request_facts(*second, before=first) == cold
    assert request_facts(*second, before=(first[0], second[1])) == cold
    assert request_facts(*second, before=second) == cold


RESPONSE_STARTS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 101 Switching", b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 204 X", b"HTTP/1.1 304 X", b"HTTP/1.1 099 X", b"HTTP/1.1 999", b"HTTP/1.1 200 \xff\t",
    b"HTTP/2.0 200 OK",
]  # fmt: skip


def response_facts(method: bytes, start: bytes, lines: list[bytes]) -> object:
    try:
        head = parse_response_head(b"\r\n".join([start, *lines, b"", b""]), method, 100)
    except ProtocolError as error:
        return error.failure
    kept = [line for line in head.lines if not line.startswith(b"X-Never-Seen")]
    return [
        head.status, head.status_line, head.length, head.keep_alive, head.websocket, head.has_date,
        head.chunked_line, kept,
    ]  # fmt: skip


@given(
    st.sampled_from([b"GET", b"HEAD"]),
    st.sampled_from(RESPONSE_STARTS),
    st.lists(st.sampled_from([*REQUEST_LINES, b"Date: x", b"date: y", b"Set-Cookie: a"]), max_size=6),
)
def test_the_verdict_on_a_response_does_not_depend_on_earlier_heads(
    method: bytes, start: bytes, lines: list[bytes]
) -> None:
    cold = response_facts(method, start, [*lines, never_seen()])
    response_facts(method, start, lines)
    assert response_facts(method, start, lines) == cold


@pytest.mark.parametrize(
    "line",
    [
        b"Hosta",
        b"Accept",
        b"Accep: t",
        b"Accept x",
        b" Accept: x",
        b"Accept : x",
        b":x",
        b"Accept: x\0",
        b"Accept: \r",
    ],
)
def test_a_known_name_does_not_excuse_a_malformed_line(line: bytes) -> None:
    assert request(b"Accept: y") is None
    assert response(b"Accept: y") is None
    valid = line == b"Accep: t"  # another name
    assert (request(line) is None) is valid
    assert (response(line) is None) is valid


def test_a_refused_head_is_not_remembered() -> None:
    line = b"X-Taught-By-Refused: 1"
    assert request(line, b"bad line") is not None
    assert request(line, b"Host: b") is not None
    assert request(line) is None
    assert request(b"X\x00: 1", line) is not None


def test_remembered_lines_are_bounded() -> None:
    table = FieldTable(REQUEST_KINDS)
    for number in range(10_000):
        for line in (b"X-%d: y" % number, b"Host: a", b"X: " + b"y" * 1000):
            table.learn(line)
    assert len(table.seen) <= 4096
    assert max(map(len, table.seen)) <= 256
    for size in range(500):
        table.learn(b"X" * size + b": y")
    assert len(table._names) <= 1024
    assert max(map(len, table._names)) <= 256


@pytest.mark.parametrize(
    ("line", "name", "value", "members"),
    [
        (b"TE: A", b"te", b"A", [b"a"]),
        (b"Connection: A , b", b"connection", b"A , b", [b"a", b"b"]),
    ],
)
def test_a_field_is_split(line: bytes, name: bytes, value: bytes, members: list[bytes]) -> None:
    field = Field(CONNECTION, line)
    assert (field.line, field.name, field.value, field.members) == (line, name, value, members)
