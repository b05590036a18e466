"""A head like an earlier one of its connection is what parsing yields. Usual differences are recognised."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.head_memory import RequestHeads, ResponseHeads
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.response_head import parse_response_head
from balancer.http.similar_heads import RequestPattern, ResponsePattern
from balancer.http.wire import render_response
from tests.http.test_head_memory import CLIENT, PEERS, STARTS, outcome, raw, response_outcome

FIELDS = FieldTable(REQUEST_KINDS)
VALUES = [
    b"x",
    b" 1",
    b"\t2 ",
    b"",
    b" 03",
    b" 12345678901234567",
    b" +1",
    b" a, b",
    b" a:b",
    b" \xff",
    b" \x00",
]
NAMES = [
    b"Host", b"Accept", b"X-Race", b"race", b"Cookie", b"X-Request-ID", b"x-request-id", b"Content-Length",
    b"Connection", b"Upgrade", b"Via", b"Te", b"Expect", b"X-Forwarded-For", b"Transfer-Encoding", b"Date",
]  # fmt: skip
# With each name the values that have a meaning with it.
MEANT = [
    b"Host: a", b"Connection: close", b"Connection: keep-alive", b"Connection: accept",
    b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked", b"Te: trailers",
    b"Expect: 100-continue", b"Via: 1.1 balancer-12345678", b"Content-Length: 0", b"X-Request-ID: 7",
    b"Date: now",
]  # fmt: skip
LINE = st.one_of(
    st.sampled_from(MEANT),
    st.builds(lambda name, value: name + b":" + value, st.sampled_from(NAMES), st.sampled_from(VALUES)),
)
# A line of a head, by number, and what it becomes.
CHANGES = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.one_of(LINE, st.sampled_from(VALUES))), max_size=3),
    min_size=1,
    max_size=4,
)


def changed(lines: list[bytes], changes: list[tuple[int, bytes]]) -> list[bytes]:
    """What becomes of a line is another line, or the same name with another value."""
    lines = lines.copy()
    for number, new in changes:
        at = number % len(lines)
        name, _, _ = lines[at].partition(b":")
        lines[at] = name + b":" + new if new in VALUES else new
    return lines


def learnt(memory: RequestHeads, lines: list[bytes], start: bytes = b"GET / HTTP/1.1") -> RequestPattern:
    """The pattern of a connection on which this head has come."""
    pattern = RequestPattern(FIELDS, 100)
    memory.parse_all(raw(start, lines), pattern)
    return pattern


@given(
    st.lists(LINE, max_size=6),
    st.lists(st.sampled_from(STARTS), min_size=5, max_size=5),
    CHANGES,
    st.sampled_from(sorted(PEERS)),
)
def test_each_request_head_of_a_connection_is_what_parsing_yields(
    lines: list[bytes], starts: list[bytes], changes: list[list[tuple[int, bytes]]], peer: str
) -> None:
    memory, pattern = RequestHeads(FIELDS, 100, 100), RequestPattern(FIELDS, 100)
    lines = [b"Host: a", *lines]
    for start, change in zip(starts, [[], *changes], strict=False):
        lines = changed(lines, change)
        text = raw(start if start in STARTS[:4] else STARTS[0], lines)
        cold = outcome(partial(parse_request_head, text, 100, 100, None, FIELDS), PEERS[peer])

        def warm(text: bytes = text) -> RequestHead:
            return memory.parse_all(text, pattern) or memory.parse(text)

        assert outcome(warm, PEERS[peer]) == cold


@given(
    st.lists(LINE, min_size=1, max_size=6),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 X", b"HTTP/1.1 426 X"]),
    CHANGES,
    st.sampled_from([b"GET", b"HEAD"]),
    st.sampled_from([(1, False), (1, True), (0, False), (0, True)]),
)
def test_each_response_head_of_a_connection_is_what_parsing_yields(
    lines: list[bytes],
    start: bytes,
    changes: list[list[tuple[int, bytes]]],
    method: bytes,
    how: tuple[int, bool],
) -> None:
    memory, pattern = ResponseHeads(100), ResponsePattern()
    for number, change in enumerate([[], *changes]):
        lines = changed(lines, change)
        text = raw(start, lines)
        asked = method if number == 2 else b"GET"
        cold = response_outcome(partial(parse_response_head, text, asked, 100), b"Date: 1\r\n", how)
        warm = response_outcome(partial(memory.parse, text, asked, pattern), b"Date: 1\r\n", how)
        assert warm == cold


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param([b"Trace: 1"], [b"Trace: 2"], id="another trace id"),
        pytest.param([b"Trace: 1", b"Cookie: a"], [b"Trace: 2", b"Cookie: b"], id="and another cookie"),
        pytest.param([b"X-Request-ID: 1"], [b"X-Request-ID: 2"], id="another request id"),
        pytest.param([b"Content-Length: 1"], [b"Content-Length: 20"], id="another length"),
        pytest.param([b"Connection: close", b"A: 1"], [b"Connection: close", b"A: 2"], id="the last request"),
    ],
)
def test_usual_differences_are_recognised(first: list[bytes], then: list[bytes]) -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    pattern = learnt(memory, [b"Host: a", *first])
    text = raw(b"GET /2 HTTP/1.1", [b"Host: a", *then])
    assert pattern.next(text, text[:-4].split(b"\r\n")) is not None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param([b"Trace: 1"], [b"Other: 1"], id="another name"),
        pytest.param([b"Trace: 1"], [b"trace: 1"], id="a name in other case"),
        pytest.param([b"Trace: 1"], [b"Trace : 1"], id="white space behind a name"),
        pytest.param([b"Trace: 1"], [b"Trace: \x00"], id="an invalid value"),
        pytest.param([b"Trace: 1"], [b"Trace: 1", b"A: 2"], id="one more line"),
        pytest.param([b"Connection: close"], [b"Connection: keep-alive"], id="connection"),
        pytest.param([b"Connection: trace", b"Trace: 1"], [b"Connection: trace", b"Trace: 2"], id="named"),
        pytest.param([b"X-Forwarded-For: 1.1.1.1"], [b"X-Forwarded-For: 1.1.1.2"], id="forwarded"),
        pytest.param([b"Content-Length: 1"], [b"Content-Length: 1, 1"], id="no plain number"),
        pytest.param(
            [b"X-Request-ID: 1", b"X-Request-ID: 2"], [b"X-Request-ID: 3", b"X-Request-ID: 2"], id="two ids"
        ),
        pytest.param([b"A: 1"] * 7, [b"A: 2"] * 7, id="too many lines"),
        pytest.param([b"A: 1"], [b"A: " + b"2" * 1100], id="a large head"),
    ],
)
def test_other_differences_are_parsed(first: list[bytes], then: list[bytes]) -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    pattern = learnt(memory, [b"Host: a", *first])
    text = raw(b"GET /2 HTTP/1.1", [b"Host: a", *then])
    assert pattern.next(text, text[:-4].split(b"\r\n")) is None


def test_of_two_lines_with_the_same_value_the_one_that_differs_is_replaced() -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    pattern = learnt(memory, [b"Host: a", b"X-Trace: race: 1", b"race: 1"])
    text = raw(b"GET / HTTP/1.1", [b"Host: a", b"X-Trace: race: 1", b"race: 2"])
    head = pattern.next(text, text[:-4].split(b"\r\n"))
    assert head is not None
    assert head.lines == [b"Host: a", b"X-Trace: race: 1", b"race: 2"]
    assert CLIENT.lines(head)


def test_a_response_with_another_date_length_and_etag_is_recognised() -> None:
    pattern = ResponsePattern()
    first = raw(b"HTTP/1.1 200 OK", [b"Date: 1", b"Content-Length: 100", b"ETag: 1"])
    ResponseHeads(100).parse(first, b"GET", pattern)
    text = raw(b"HTTP/1.1 200 OK", [b"Date: 2", b"Content-Length: 0090", b"ETag: 2"])
    head = pattern.next(text[:-4].split(b"\r\n"))
    assert head is not None
    assert head.length == 90
    expected = text.replace(b"0090", b"90")
    assert render_response(head, 1, False, b"") == expected


def test_responses_are_remembered_though_they_are_like_others() -> None:
    """The next one may be the same, byte for byte."""
    memory, pattern = ResponseHeads(100), ResponsePattern()
    first, second = (raw(b"HTTP/1.1 200 OK", [b"ETag: %d" % number]) for number in (1, 2))
    for text in (first, second, first, second):
        memory.parse(text, b"GET", pattern)
    assert memory.parse(second, b"GET", pattern).raw == second
