"""A head like an earlier one of its connection is what parsing yields. Usual differences are recognised."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.head_memory import RequestHeads, ResponseHeads
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.response_head import parse_response_head
from balancer.http.similar_heads import RequestTemplate, ResponseTemplate
from balancer.http.wire import render_response
from tests.http.test_head_memory import CLIENT, PEERS, STARTS, facts, outcome, raw, response_outcome, sent

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
    b"N" * 257,
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


def read(memory: RequestHeads, template: RequestTemplate, text: bytes) -> RequestHead:
    """As a client connection does."""
    return template.next(text) or memory.parse_all(text, template) or memory.parse(text)


def learnt(first: list[bytes], second: list[bytes]) -> RequestTemplate:
    """The template of a connection on which these two heads have come."""
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    for lines in (first, second):
        sent(read(memory, template, raw(b"GET / HTTP/1.1", [b"Host: a", *lines])), CLIENT)
    return template


@given(
    st.lists(LINE, max_size=6),
    st.lists(st.sampled_from(STARTS), min_size=5, max_size=5),
    CHANGES,
    st.sampled_from(sorted(PEERS)),
    st.integers(0, 9),
)
def test_each_request_head_of_a_connection_is_what_parsing_yields(
    lines: list[bytes],
    starts: list[bytes],
    changes: list[list[tuple[int, bytes]]],
    peer: str,
    evicted: int,
) -> None:
    fields = FieldTable(REQUEST_KINDS)
    memory, template = RequestHeads(fields, 100, 100), RequestTemplate(fields, 100)
    lines = [b"Host: a", *lines]
    for number, (start, change) in enumerate(zip(starts, [[], *changes], strict=False)):
        if number == evicted:
            fields._names.clear()
        lines = changed(lines, change)
        text = raw(start if start in STARTS[:4] else STARTS[0], lines)
        cold = outcome(partial(parse_request_head, text, 100, 100, None, FIELDS), PEERS[peer])
        warm = outcome(partial(read, memory, template, text), PEERS[peer])
        # Of several faults any may be named.
        assert warm == cold or (isinstance(warm, tuple) and isinstance(cold, tuple) and warm[0] is cold[0])


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
    memory, template = ResponseHeads(100), ResponseTemplate()
    for number, change in enumerate([[], *changes]):
        lines = changed(lines, change)
        text = raw(start, lines)
        asked = method if number == 2 else b"GET"
        cold = response_outcome(partial(parse_response_head, text, asked, 100), b"Date: 1\r\n", how)
        warm = response_outcome(partial(memory.parse, text, asked, template), b"Date: 1\r\n", how)
        assert warm == cold


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: 3"], id="another trace id"),
        pytest.param(
            [b"Trace: 1", b"Cookie: a"], [b"Trace: 2", b"Cookie: b"], [b"Trace: 2", b"Cookie: c"],
            id="and another cookie",
        ),
        pytest.param([b"X-Request-ID: 1"], [b"X-Request-ID: 2"], [b"X-Request-ID: 3"], id="another id"),
        pytest.param(
            [b"Connection: close", b"A: 1"], [b"Connection: close", b"A: 2"], [b"Connection: close", b"A: "],
            id="the last request",
        ),
    ],
)  # fmt: skip
def test_usual_differences_are_recognised(
    first: list[bytes], second: list[bytes], third: list[bytes]
) -> None:
    text = raw(b"GET /2 HTTP/1.1", [b"Host: a", *third])
    head = learnt(first, second).next(text)
    assert head is not None
    assert facts(head, CLIENT) == facts(parse_request_head(text, 100, 100, None, FIELDS), CLIENT)


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Other: 1"], id="another name"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"trace: 1"], id="a name in other case"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace : 1"], id="white space behind a name"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: \x00"], id="an invalid value"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: 1\nA: 2"], id="a line feed in a value"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: 1\rA: 2"], id="a carriage return in a value"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: 1", b"A: 2"], id="one more line"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [], id="one line less"),
        pytest.param([b"Trace: 1"], [b"Trace: 2"], [b"Trace: 1", b"", b"GET / HTTP/1.1"], id="two heads"),
        pytest.param([b"A: 1", b"B: 1"], [b"A: 2", b"B: 1"], [b"A: 2", b"B: 2"], id="a value that was fixed"),
        pytest.param(
            [b"Connection: close"], [b"Connection: keep-alive"], [b"Connection: close"], id="connection"
        ),
        pytest.param(
            [b"Connection: trace", b"Trace: 1"], [b"Connection: trace", b"Trace: 2"],
            [b"Connection: trace", b"Trace: 3"], id="a name in Connection",
        ),
        pytest.param(
            [b"X-Forwarded-For: 1.1.1.1"], [b"X-Forwarded-For: 1.1.1.2"], [b"X-Forwarded-For: 1.1.1.3"],
            id="forwarded",
        ),
        pytest.param(
            [b"X-Request-ID: 1", b"X-Request-ID: 2"], [b"X-Request-ID: 3", b"X-Request-ID: 2"],
            [b"X-Request-ID: 4", b"X-Request-ID: 2"], id="two ids",
        ),
        pytest.param([b"A: 1"] * 7, [b"A: 2"] * 7, [b"A: 3"] * 7, id="too many lines"),
        pytest.param([b"A: 1"], [b"A: 2"], [b"A: " + b"2" * 1100], id="a large head"),
    ],
)  # fmt: skip
def test_other_differences_are_parsed(first: list[bytes], second: list[bytes], third: list[bytes]) -> None:
    assert learnt(first, second).next(raw(b"GET /2 HTTP/1.1", [b"Host: a", *third])) is None


def test_of_two_lines_with_the_same_value_the_one_that_differs_is_replaced() -> None:
    template = learnt([b"X-Trace: race: 1", b"race: 1"], [b"X-Trace: race: 1", b"race: 2"])
    head = template.next(raw(b"GET / HTTP/1.1", [b"Host: a", b"X-Trace: race: 1", b"race: 1"]))
    assert head is not None
    assert head.forwarded_lines()[:3] == [b"Host: a", b"X-Trace: race: 1", b"race: 1"]


def test_a_line_that_was_removed_from_one_head_is_not_removed_from_the_next() -> None:
    """A pin is removed by changing the lines of its head."""
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    for number in range(5):
        cookie = b"Cookie: %d" % number
        head = read(memory, template, raw(b"GET / HTTP/1.1", [b"Host: a", cookie]))
        assert cookie in head.forwarded_lines()
        if number < 3:
            head.replace_lines({cookie: b""})
            assert b"Cookie" not in sent(head, CLIENT)
        else:
            assert b"\r\n" + cookie + b"\r\n" in sent(head, CLIENT)


def test_what_is_logged_of_a_head_is_that_head_s() -> None:
    template = learnt([b"User-Agent: a", b"Trace: 1"], [b"User-Agent: b", b"Trace: 2"])
    text = raw(b"GET / HTTP/1.1", [b"Host: a", b"User-Agent: b", b"Trace: 3"])
    for _ in range(2):
        head = template.next(text)
        assert head is not None
        assert head.logged is None
        head.logged = ("", "", "of another user agent")


def test_a_response_with_another_date_length_and_etag_is_recognised() -> None:
    memory, template = ResponseHeads(100), ResponseTemplate()
    for number in (1, 2):
        lines = [b"Date: %d" % number, b"content-length:10%d" % number, b"ETag: %d" % number]
        memory.parse(raw(b"HTTP/1.1 200 OK", lines), b"GET", template)
    head = template.next(raw(b"HTTP/1.1 200 OK", [b"Date: 3", b"content-length: 0090 ", b"ETag: 3"]))
    assert head is not None
    assert head.length == 90
    rendered = raw(b"HTTP/1.1 200 OK", [b"Date: 3", b"Content-Length: 90", b"ETag: 3"])
    assert render_response(head, 1, False, b"") == rendered


@pytest.mark.parametrize("value", [b"+1", b"1, 1", b"1" * 16, b"", b"0x1"])
def test_a_length_that_is_no_plain_number_is_parsed(value: bytes) -> None:
    memory, template = ResponseHeads(100), ResponseTemplate()
    for number in (1, 2):
        memory.parse(raw(b"HTTP/1.1 200 OK", [b"Content-Length: %d" % number]), b"GET", template)
    assert template.next(raw(b"HTTP/1.1 200 OK", [b"Content-Length: 3"])) is not None
    assert template.next(raw(b"HTTP/1.1 200 OK", [b"Content-Length: " + value])) is None


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"426 Upgrade", b"103 Hints"])
def test_responses_whose_fields_mean_something_else_are_parsed(status: bytes) -> None:
    memory, template = ResponseHeads(100), ResponseTemplate()
    for number in (1, 2):
        memory.parse(raw(b"HTTP/1.1 " + status, [b"ETag: %d" % number]), b"GET", template)
    assert template.next(raw(b"HTTP/1.1 " + status, [b"ETag: 3"])) is None


def test_responses_are_remembered_though_they_are_like_others() -> None:
    """The next one may be the same, byte for byte."""
    memory, template = ResponseHeads(100), ResponseTemplate()
    first, second = (raw(b"HTTP/1.1 200 OK", [b"ETag: %d" % number]) for number in (1, 2))
    for text in (first, second, first, second):
        memory.parse(text, b"GET", template)
    assert memory.parse(second, b"GET", template).raw == second


LONG = b"N" * 257 + b": x"  # a name that is never remembered


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([LONG, b"Content-Length: 39", b"Connection: foo"], id="a length behind an unknown name"),
        pytest.param([LONG, b"X-Request-ID: 7", b"Connection: foo"], id="an id behind an unknown name"),
        pytest.param([LONG], id="an unknown name"),
        pytest.param([b"Connection: foo", b"Content-Length: 39"], id="a name in Connection"),
    ],
)
def test_no_other_line_is_replaced(lines: list[bytes]) -> None:
    """A line that is forwarded though its name is unknown, and one that is not though it is known, once stood
    for each other: a value replaced Content-Length."""
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    responses, of_responses = ResponseHeads(100), ResponseTemplate()
    for number in range(5):
        text = raw(b"GET / HTTP/1.1", [b"Host: a", *lines, b"Foo: %d" % number])
        cold = parse_request_head(text, 100, 100, None, FIELDS)
        assert facts(read(memory, template, text), CLIENT) == facts(cold, CLIENT)
        text = raw(b"HTTP/1.1 200 OK", [*lines, b"Foo: %d" % number])
        expected = response_outcome(partial(parse_response_head, text, b"GET", 100), b"", (0, False))
        parse = partial(responses.parse, text, b"GET", of_responses)
        assert response_outcome(parse, b"", (0, False)) == expected


def test_an_informational_response_before_each_response_does_not_matter() -> None:
    memory, template = ResponseHeads(100), ResponseTemplate()
    for number in range(3):
        memory.parse(raw(b"HTTP/1.1 103 Hints", [b"Link: </a>"]), b"GET", template)
        memory.parse(raw(b"HTTP/1.1 200 OK", [b"ETag: %d" % number]), b"GET", template)
    assert template.next(raw(b"HTTP/1.1 200 OK", [b"ETag: 4"])) is not None


def test_heads_that_never_fit_are_compared_ever_more_rarely() -> None:
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    compared = 0
    for number in range(1000):
        is_paused = template._pause > 0
        # Never the same twice: those would be remembered, and neither parsed nor compared.
        lines = [b"Host: a", b"X-Forwarded-For: 192.0.%d.%d" % divmod(number, 250)]
        read(memory, template, raw(b"GET / HTTP/1.1", lines))
        compared += not is_paused
    assert 10 < compared < 25


def test_a_client_that_changes_its_ways_is_recognised_again() -> None:
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    for number in range(200):
        lines = [b"Host: a", b"X-Forwarded-For: 192.0.2.%d" % number]
        read(memory, template, raw(b"GET / HTTP/1.1", lines))
    heads = [raw(b"GET / HTTP/1.1", [b"Host: a", b"Trace: %d" % number]) for number in range(100)]
    for text in heads[:70]:
        read(memory, template, text)
    assert all(template.next(text) is not None for text in heads[70:])
