"""`traceparent` and `tracestate`: what is valid, by the W3C's recommendation, and what heads make of them."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.fields import TRACED_KINDS, FieldTable
from balancer.http.head_memory import RequestHeads
from balancer.http.named_values import header_of
from balancer.http.request_head import parse_request_head
from balancer.http.similar_heads import RequestTemplate
from balancer.http.trace_context import TraceContext, context_in, state_in
from tests.http.test_head_memory import CLIENT, facts, outcome, raw, sent
from tests.http.test_similar_heads import read

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
FIELDS = FieldTable(TRACED_KINDS)


def parent(version: bytes = b"00", trace: bytes = TRACE, span: bytes = SPAN, flags: bytes = b"01") -> bytes:
    return b"-".join((version, trace, span, flags))


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        pytest.param(parent(), 1, id="sampled"),
        pytest.param(parent(flags=b"00"), 0, id="not sampled"),
        pytest.param(parent(flags=b"03"), 3, id="sampled, and a random id"),
        pytest.param(parent(flags=b"ff"), 3, id="flags of later versions are not passed on"),
        pytest.param(parent(b"01"), 1, id="a later version"),
        pytest.param(parent(b"cc") + b"-what comes then", 1, id="a later version with more"),
        pytest.param(parent(b"cc") + b"-", 1, id="a later version with a dash"),
        pytest.param(parent(span=b"0" * 15 + b"1"), 1, id="the smallest span id"),
    ],
)
def test_a_valid_parent_is_passed_on_in_the_version_known_here(value: bytes, flags: int) -> None:
    found = context_in(value)
    assert found is not None
    assert (found.trace_id, found.flags, found.sampled) == (TRACE, flags, flags & 1 == 1)
    assert found.lines() == b"\r\ntraceparent: 00-%b-%b-%02x" % (TRACE, found.span_id, flags)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(parent(b"ff"), id="the version that is none"),
        pytest.param(parent(b"0"), id="a short version"),
        pytest.param(parent(b"0G"), id="a version in other signs"),
        pytest.param(parent(trace=b"0" * 32), id="no trace"),
        pytest.param(parent(span=b"0" * 16), id="no span"),
        pytest.param(parent(trace=TRACE.upper()), id="a trace in upper case"),
        pytest.param(parent(span=SPAN.upper()), id="a span in upper case"),
        pytest.param(parent(trace=TRACE[1:]), id="a short trace"),
        pytest.param(parent(trace=TRACE + b"a"), id="a long trace"),
        pytest.param(parent(span=SPAN[1:]), id="a short span"),
        pytest.param(parent(flags=b"1"), id="short flags"),
        pytest.param(parent(flags=b"001"), id="long flags"),
        pytest.param(parent(flags=b"0A"), id="flags in upper case"),
        pytest.param(parent() + b"-more", id="more than version 00 has"),
        pytest.param(parent(b"cc") + b".more", id="more without a dash"),
        pytest.param(parent().replace(b"-", b"_"), id="other dashes"),
        pytest.param(parent() + b"," + parent(), id="two in a list"),
        pytest.param(parent() + b" ", id="a blank"),
        pytest.param(parent() + b"\n", id="a line feed"),
    ],
)
def test_an_invalid_parent_is_none(value: bytes) -> None:
    assert context_in(value, [b"a=1"]) is None


@given(st.binary(max_size=80))
def test_whatever_is_read_as_a_parent_is_passed_on_as_a_valid_one(value: bytes) -> None:
    found = context_in(value)
    if found is not None:
        again = context_in(found.lines().removeprefix(b"\r\ntraceparent: "))
        assert again is not None
        assert again.lines() == found.lines()


@pytest.mark.parametrize(
    ("values", "state"),
    [
        pytest.param([b"a=1"], b"a=1", id="one"),
        pytest.param([b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], None, id="two"),
        pytest.param([b"a=1", b"b=2"], b"a=1,b=2", id="two fields"),
        pytest.param([b"a=1", b"", b"b=2"], b"a=1,b=2", id="an empty field"),
        pytest.param([b"a=1 , \tb=2"], None, id="white space"),
        pytest.param([b"a=1,,b=2,"], None, id="empty members"),
        pytest.param([b"t0/_-*=x"], None, id="signs in a key"),
        pytest.param([b"0tenant@vendor=x"], None, id="a tenant"),
        pytest.param([b"a=" + b"v" * 256], None, id="the longest value"),
        pytest.param([b"k" * 256 + b"=1"], None, id="the longest key"),
        pytest.param([b"a=b c"], None, id="a blank in a value"),
        pytest.param([b",".join(b"k%d=1" % number for number in range(32))], None, id="32 members"),
        pytest.param([b",".join(b"k%d=1" % number for number in range(33))], b"", id="33 members"),
        pytest.param([b"a=1,a=2"], b"", id="a key twice"),
        pytest.param([b"a"], b"", id="no value"),
        pytest.param([b"a="], b"", id="an empty value"),
        pytest.param([b"=1"], b"", id="no key"),
        pytest.param([b"A=1"], b"", id="a key in upper case"),
        pytest.param([b"a=1=2"], b"", id="an equals sign in a value"),
        pytest.param([b"a=\xff"], b"", id="not ASCII"),
        pytest.param([b"a=" + b"v" * 257], b"", id="a long value"),
        pytest.param([b"k" * 257 + b"=1"], b"", id="a long key"),
        pytest.param([b"a@b@c=1"], b"", id="two tenants"),
        pytest.param([b"a@0vendor=1"], b"", id="a vendor that begins with a digit"),
        pytest.param([b" "], b"", id="blank"),
        pytest.param([b","], b"", id="only a comma"),
        pytest.param([b"a=1", b"?"], b"", id="one field is invalid"),
    ],
)
def test_a_state_is_passed_on_as_it_came_or_not_at_all(values: list[bytes], state: bytes | None) -> None:
    assert state_in(values) == (values[0] if state is None else state)


# --- heads


def parsed(*lines: bytes) -> TraceContext | None:
    return parse_request_head(raw(b"GET / HTTP/1.1", [b"Host: a", *lines]), 100, 100, None, FIELDS).trace


def test_the_fields_of_a_trace_are_not_forwarded_but_kept() -> None:
    text = raw(b"GET / HTTP/1.1", [b"Traceparent: " + parent(), b"Host: a", b"TraceState: a=1", b"X: y"])
    head = parse_request_head(text, 100, 100, None, FIELDS)
    assert head.forwarded_lines() == [b"Host: a", b"X: y"]
    assert head.trace is not None
    assert head.trace.lines() == b"\r\ntraceparent: %b\r\ntracestate: a=1" % parent()
    assert header_of(head, CLIENT, b"Traceparent") == parent()
    assert header_of(head, CLIENT, b"tracestate") == b"a=1"


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        pytest.param([b"tracestate: a=1"], True, id="only a state"),
        pytest.param([b"traceparent: " + parent()] * 2, True, id="two parents"),
        pytest.param([b"traceparent: x", b"traceparent: " + parent()], True, id="an invalid one before it"),
        pytest.param([b"traceparent: " + parent(), b"Connection: traceparent"], True, id="for this hop"),
        pytest.param([b"traceparent: \t" + parent() + b" "], False, id="white space around it"),
    ],
)
def test_a_parent_counts_if_it_is_the_only_one(lines: list[bytes], lost: bool) -> None:
    assert (parsed(*lines) is None) is lost


def test_an_invalid_state_does_not_affect_the_parent() -> None:
    for bad in ([b"tracestate: ?"], [b"tracestate: a=1", b"Connection: tracestate"]):
        found = parsed(b"traceparent: " + parent(), *bad)
        assert found is not None
        assert found.state == b""


PARENTS = [b"traceparent: " + each for each in (parent(), parent(span=b"1" * 16), parent(flags=b"00"), b"x")]
LINES = [
    *PARENTS, b"Traceparent: " + parent(), b"tracestate: a=1", b"tracestate: b=2", b"tracestate: ?",
    b"tracestate:", b"X-Request-ID: 1", b"X-Request-ID: 2", b"Accept: x", b"Accept: y",
    b"Connection: traceparent", b"Connection: tracestate", b"Connection: close",
]  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=4), min_size=1, max_size=3))
def test_each_head_of_a_connection_is_what_parsing_yields(heads: list[list[bytes]]) -> None:
    fields = FieldTable(TRACED_KINDS)
    memory, template = RequestHeads(fields, 100, 100), RequestTemplate(fields, 100)
    for lines in [*heads, *heads, *heads]:
        text = raw(b"GET / HTTP/1.1", [b"Host: a", *lines])
        cold = outcome(partial(parse_request_head, text, 100, 100, None, FIELDS), CLIENT)
        assert outcome(partial(read, memory, template, text), CLIENT) == cold


NAMES = (b"traceparent", b"tracestate", b"X-Request-ID", b"Accept")


@given(st.permutations(NAMES), st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=2, max_size=6))
def test_heads_that_differ_in_their_trace_are_what_parsing_yields(
    order: list[bytes], heads: list[tuple[int, ...]]
) -> None:
    values = {
        b"traceparent": [parent(span=b"%016x" % number) for number in (1, 2)] + [b"x"],
        b"tracestate": [b"a=1", b"b=2", b"?"],
        b"X-Request-ID": [b"1", b"2", b"?"],
        b"Accept": [b"x", b"y", b"z"],
    }
    fields = FieldTable(TRACED_KINDS)
    memory, template = RequestHeads(fields, 100, 100), RequestTemplate(fields, 100)
    for numbers in heads:
        lines = [b"%b: %b" % (name, values[name][at]) for name, at in zip(order, numbers, strict=True)]
        text = raw(b"GET / HTTP/1.1", [b"Host: a", *lines])
        cold = parse_request_head(text, 100, 100, None, FIELDS)
        assert facts(read(memory, template, text), CLIENT) == facts(cold, CLIENT)


def test_a_head_with_another_trace_is_recognised() -> None:
    memory, template = RequestHeads(FIELDS, 100, 100), RequestTemplate(FIELDS, 100)
    for number in (1, 2):
        lines = [b"traceparent: " + parent(span=b"%016x" % number), b"tracestate: a=%d" % number]
        sent(read(memory, template, raw(b"GET / HTTP/1.1", [b"Host: a", *lines])), CLIENT)
    lines = [b"traceparent: " + parent(span=b"%016x" % 3), b"tracestate: a=3"]
    head = template.next(raw(b"GET / HTTP/1.1", [b"Host: a", *lines]))
    assert head is not None
    assert head.trace is not None
    assert (head.trace.span_id, head.trace.state) == (b"%016x" % 3, b"a=3")
    assert b"trace" not in sent(head, CLIENT)
