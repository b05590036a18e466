"""What is remembered of heads never changes what is read from them or sent, and takes bounded memory."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import ProtocolError
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding, Peer
from balancer.http.head_memory import RequestHeads, ResponseHeads
from balancer.http.request_head import RequestHead, parse_request_head, repeats
from balancer.http.response_head import ResponseHead, parse_response_head
from balancer.http.similar_heads import ResponseTemplate
from balancer.http.wire import render_request, render_response

DATE = b"Date: now\r\n"
AUTHORITY = b"app:8000"
FIELDS = FieldTable(REQUEST_KINDS)
FORWARDING = Forwarding(["10.0.0.0/8"])
CLIENT, OTHER, PROXY = (FORWARDING.peer(each) for each in ("192.0.2.1", "192.0.2.2", "10.0.0.1"))
PEERS = {"client": CLIENT, "other client": OTHER, "trusted proxy": PROXY}

STARTS = [
    b"GET / HTTP/1.1", b"GET /a HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.1", b"GET  / HTTP/1.1",
    b"GETX / HTTP/1.1", b"GET /#a HTTP/1.1", b"GET /\x80 HTTP/1.1", b"GET http://b/ HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"GET / HTTP/1.1 HTTP/1.1", b"GET HTTP/1.1", b"GET /" + b"x" * 200 + b" HTTP/1.1",
    b"POST / HTTP/1.1", b"CONNECT / HTTP/1.1", b"\r\nGET / HTTP/1.1",
]  # fmt: skip
LINES = [
    b"Host: a", b"Host: b", b"Accept: x", b"X-Race: 1", b"race: 1", b"Content-Length: 0",
    b"Content-Length: 3",
        b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: Upgrade", b"Upgrade: websocket",
    b"X-Forwarded-For: 192.0.2.9", b"X-Forwarded-Host: c", b"Forwarded: for=192.0.2.8",
    b"X-Request-ID: 7",
    b"Via: 1.1 balancer-12345678", b"Cookie: a=b", b"Te: trailers", b"Connection: te",
    b"Expect: 100-continue",
]  # fmt: skip
HEADS = st.tuples(
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=4).map(lambda lines: [b"Host: a", *lines]),
)


def raw(start: bytes, lines: list[bytes]) -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


def sent(head: RequestHead, peer: Peer) -> bytes:
    return render_request(head, peer, b"1", AUTHORITY)


def facts(head: RequestHead, peer: Peer) -> list[object]:
    """All that is used of a head."""
    return [
        head.method, head.target, head.minor, head.host, head.length, head.keep_alive, head.websocket,
        head.te_trailers, head.balancers, sent(head, peer), peer.client_address(head), head.forwarded_lines(),
        b"" if head.trace is None else head.trace.lines(),
    ]  # fmt: skip


def outcome(parse: Callable[[], RequestHead], peer: Peer) -> object:
    """The facts of the head, or the failure and its detail."""
    try:
        return facts(parse(), peer)
    except ProtocolError as error:
        return error.failure, error.detail


@given(st.lists(HEADS, min_size=1, max_size=3), st.sampled_from(sorted(PEERS)))
def test_a_remembered_request_head_is_what_parsing_yields(
    kinds: list[tuple[bytes, list[bytes]]], peer: str
) -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    for start, lines in kinds * 4:
        text = raw(start, lines)
        cold = outcome(partial(parse_request_head, text, 100, 100, None, FIELDS), PEERS[peer])
        assert outcome(partial(memory.parse, text), PEERS[peer]) == cold


@given(HEADS, HEADS, st.integers(0, 40))
def test_a_repeated_request_head_is_what_parsing_yields(
    first: tuple[bytes, list[bytes]], second: tuple[bytes, list[bytes]], cut: int
) -> None:
    """Also if the second is cut short, or comes with other bytes before or behind it."""
    whole = raw(*second)
    other = raw(*first)
    for data in (whole, raw(second[0], first[1]), other + whole, whole[cut:], whole + other[cut:]):
        before = None
        with suppress(ProtocolError):
            before = parse_request_head(raw(*first), 100, 100, None, FIELDS)
        if before is not None and (size := repeats(before, data, 100)):
            assert size == data.find(b"\r\n\r\n") + 4
            cold = parse_request_head(data[:size], 100, 100, None, FIELDS)
            assert facts(before, CLIENT) == facts(cold, CLIENT)


def test_what_one_client_is_sent_as_does_not_reach_another() -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    text = raw(b"GET / HTTP/1.1", [b"Host: a", b"X-Forwarded-For: 192.0.2.9"])
    for _ in range(3):
        for peer, chain in ((CLIENT, b"192.0.2.1"), (OTHER, b"192.0.2.2"), (PROXY, b"192.0.2.9, 10.0.0.1")):
            assert b"X-Forwarded-For: %b\r\n" % chain in sent(memory.parse(text), peer)


def test_a_change_of_one_head_does_not_reach_the_next() -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    text = raw(b"GET / HTTP/1.1", [b"Host: a", b"Cookie: pin=1"])
    for _ in range(4):
        head = memory.parse(text)
        head.replace_lines({b"Cookie: pin=1": b""})
        assert b"Cookie" not in sent(head, CLIENT)
    assert b"Cookie: pin=1" in sent(memory.parse(text), CLIENT)


def test_a_request_line_behind_an_empty_line_is_not_remembered_as_a_field() -> None:
    memory = RequestHeads(FIELDS, 100, 100)
    text = raw(b"GET / HTTP/1.1", [b"Host: a"])
    for _ in range(3):
        memory.parse(b"\r\n" + text)
    for before in (b"GET /other HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n"):
        with pytest.raises(ProtocolError):
            memory.parse(before + text)
    assert memory.parse(b"\r\n" + text).target == memory.parse(text).target == b"/"


RESPONSE_STARTS = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 204 X",
    b"HTTP/1.1 304 X",
    b"HTTP/1.1 100 X",
]
RESPONSE_LINES = [
    b"Content-Length: 3",
    b"Date: x",
    b"Connection: close",
    b"Set-Cookie: a=b",
    b"Transfer-Encoding: chunked",
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"GET", b"HEAD"]),
            st.sampled_from(RESPONSE_STARTS),
            st.lists(st.sampled_from(RESPONSE_LINES), max_size=3),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([(1, False), (1, True), (0, False), (0, True)]),
)
def test_a_remembered_response_head_is_what_parsing_yields(
    kinds: list[tuple[bytes, bytes, list[bytes]]], how: tuple[int, bool]
) -> None:
    memory = ResponseHeads(100)
    for number, (method, start, lines) in enumerate(kinds * 4):
        date, text = b"Date: %d\r\n" % (number // 3), raw(start, lines)

        cold = response_outcome(partial(parse_response_head, text, method, 100), date, how)
        assert response_outcome(partial(memory.parse, text, method, ResponseTemplate()), date, how) == cold


def response_outcome(parse: Callable[[], ResponseHead], date: bytes, how: tuple[int, bool]) -> object:
    try:
        head = parse()
    except ProtocolError as error:
        return error.failure
    return [*response_facts(head), *(render_response(head, *each, date) for each in (how, (1, False)))]


def response_facts(head: ResponseHead) -> list[object]:
    return [
        head.status,
        head.length,
        head.keep_alive,
        head.websocket,
        head.has_date,
        head.chunked_line,
        head.field_lines(),
    ]


def test_heads_that_never_come_again_are_not_kept() -> None:
    requests, responses = RequestHeads(FIELDS, 100, 100), ResponseHeads(100)
    for number in range(3000):
        line = b"X-Number: %d" % number
        requests.parse(raw(b"GET / HTTP/1.1", [b"Host: a", line]))
        responses.parse(raw(b"HTTP/1.1 200 OK", [line]), b"GET", ResponseTemplate())
    assert (len(requests._known), len(responses._known)) == (0, 0)


def test_the_number_of_remembered_heads_is_bounded() -> None:
    requests, responses = RequestHeads(FIELDS, 100, 100), ResponseHeads(100)
    most = [0, 0]
    for number in range(3000):
        line = b"X-Number: %d" % number
        for _ in range(2):
            requests.parse(raw(b"GET / HTTP/1.1", [b"Host: a", line]))
            responses.parse(raw(b"HTTP/1.1 200 OK", [line]), b"GET", ResponseTemplate())
        most = [max(most[0], len(requests._known)), max(most[1], len(responses._known))]
    assert most == [512, 512]
    requests.parse(raw(b"GET / HTTP/1.1", [b"Host: a", b"X: " + b"y" * 2000]))
    assert max(map(len, requests._known)) <= 1024


@pytest.mark.parametrize(
    ("lines", "changes", "left"),
    [
        ([b"Host: a", b"A: 1"], {b"A: 1": b"A: 2"}, [b"Host: a", b"A: 2"]),
        ([b"A: 1", b"Host: a"], {b"A: 1": b""}, [b"Host: a"]),
        ([b"A: 1", b"A: 1", b"A: 1", b"Host: a", b"A: 1"], {b"A: 1": b""}, [b"Host: a"]),
        ([b"Host: a", b"A: 1", b"A: 1"], {b"A: 1": b"A: 11"}, [b"Host: a", b"A: 11", b"A: 11"]),
        ([b"Host: a", b"A: 11", b"B: A: 1"], {b"A: 1": b""}, [b"Host: a", b"A: 11", b"B: A: 1"]),
    ],
)
@pytest.mark.parametrize("rendered", [False, True])
def test_whole_lines_are_replaced(
    lines: list[bytes], changes: dict[bytes, bytes], left: list[bytes], rendered: bool
) -> None:
    head = parse_request_head(raw(b"GET / HTTP/1.1", lines), 100, 100)
    if rendered:
        sent(head, CLIENT)
    head.replace_lines(changes)
    assert head.forwarded_lines()[: len(left)] == left
    assert sent(head, CLIENT).startswith(raw(b"GET / HTTP/1.1", left)[:-2] + b"X-Forwarded-For")
