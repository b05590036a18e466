"""What upstreams are told of a request's trace, and what is recorded of it."""

import re
from random import Random

import pytest

from balancer.http.fields import TRACED_KINDS, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.proxy.tracing import MAX_BATCH, Tracing
from balancer.spec.traced import TracedRequest
from tests.fakes.traces import PARENT, TRACE, traced_request
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, Harness, status_of

SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
_TOLD = re.compile(rb"\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n")
_FIELDS = FieldTable(TRACED_KINDS)
_PEER = Forwarding(["10.0.0.0/8"]).peer("192.0.2.1")
_PROXY = Forwarding(["10.0.0.0/8"]).peer("10.0.0.1")


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(1, traces={})


def request(*lines: str, method: str = "GET", target: str = "/") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def parent(value: str) -> str:
    return f"traceparent: {value}"


def told(head: bytes) -> tuple[str, str, str]:
    """Trace, parent and flags."""
    assert head.lower().count(b"\r\ntraceparent:") == 1
    found = _TOLD.search(head)
    assert found is not None
    return found[1].decode(), found[2].decode(), found[3].decode()


def traced(harness: Harness) -> list[TracedRequest]:
    traces = harness.proxy.take_traces()
    return [] if traces is None else list(traces.records)


def test_a_sampled_request_is_recorded(harness: Harness) -> None:
    harness.ask(request(parent(SAMPLED), "tracestate: a=1", "User-Agent: me", target="/x?y"))
    trace, span, flags = told(harness.upstream.take())
    harness.clock.advance(0.25)
    harness.answer()
    (record,) = traced(harness)
    (attempt,) = record.attempts
    assert (trace, span, flags) == (TRACE, attempt.span, "01")
    assert (record.trace, record.parent, record.flags, record.state) == (TRACE, PARENT, 1, "a=1")
    assert (record.method, record.target, record.host, record.agent) == ("GET", "/x?y", "a", "me")
    assert (record.status, record.reason, record.route, record.pool) == (200, "", "default", "default")
    assert (record.duration_ns, record.response_bytes) == (250_000_000, 2)
    assert (attempt.upstream, attempt.host, attempt.port) == ("app1:8000", "10.0.0.1", 8000)
    assert (attempt.status, attempt.failure, attempt.reused) == (200, "", False)
    assert (attempt.first_byte_ns, attempt.ended_ns) == (record.duration_ns, record.duration_ns)
    assert record.queue_ns == -1
    assert harness.records.records[-1]["trace_id"] == TRACE
    assert len({PARENT, record.span, attempt.span}) == 3


def test_an_unsampled_request_is_passed_on_as_it_came(harness: Harness) -> None:
    harness.ask(request(parent(UNSAMPLED), "tracestate: a=1"))
    head = harness.upstream.take()
    assert told(head) == (TRACE, PARENT, "00")
    assert b"\r\ntracestate: a=1\r\n\r\n" in head
    harness.answer()
    assert traced(harness) == []


def test_each_request_of_a_client_has_its_own_trace(harness: Harness) -> None:
    """The head is the same, and so is not parsed again."""
    client = harness.client()
    seen = set()
    for _ in range(3):
        harness.ask(GET, client)
        seen.add(told(harness.upstream.take())[0])
        harness.answer()
    records = traced(harness)
    assert {record.trace for record in records} == seen
    assert (len(seen), {record.parent for record in records}) == (3, {""})


@pytest.mark.parametrize("first", [SAMPLED, UNSAMPLED, "invalid"])
@pytest.mark.parametrize("second", [SAMPLED, UNSAMPLED, "invalid"])
def test_nothing_of_one_request_s_trace_reaches_the_next(harness: Harness, first: str, second: str) -> None:
    client = harness.client()
    for value in (first, second, first, second):
        harness.ask(request(parent(value), "tracestate: a=1"), client)
        head = harness.upstream.take()
        trace, span, flags = told(head)
        harness.answer()
        records = traced(harness)
        assert (trace == TRACE) is (value != "invalid")
        assert (b"tracestate" in head) is (value != "invalid")
        assert (span == PARENT) is (value == UNSAMPLED)
        assert (flags == "01", len(records)) == (value != UNSAMPLED, flags == "01")


def test_each_attempt_has_a_span_of_its_own(make_harness: MakeHarness) -> None:
    harness = make_harness(2, traces={})
    client = harness.ask(request(parent(SAMPLED)))
    first = told(harness.upstream.take())
    harness.clock.advance(0.1)
    harness.answer(BUSY)
    second = told(harness.upstream.take())
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 503  # the first one's own answer is better than ours
    (record,) = traced(harness)
    assert [one.span for one in record.attempts] == [first[1], second[1]]
    assert [(one.status, one.failure) for one in record.attempts] == [(503, ""), (0, "upstream_closed")]
    assert [one.began_ns for one in record.attempts] == [0, 100_000_000]
    assert [one.first_byte_ns for one in record.attempts] == [100_000_000, -1]
    assert (record.status, record.reason) == (503, "")


def test_a_client_that_leaves_is_seen_in_the_attempt(harness: Harness) -> None:
    client = harness.ask(request(parent(SAMPLED)))
    client.receive_eof()
    harness.settle()
    (record,) = traced(harness)
    assert record.status == 499
    assert [(one.status, one.failure) for one in record.attempts] == [(0, "client_gone")]


def attempts(record: TracedRequest) -> list[tuple[str, bool, int, str]]:
    """Of each: the upstream, whether it was sent, status and failure."""
    return [(one.upstream, one.sent_ns >= 0, one.status, one.failure) for one in record.attempts]


def test_dials_that_fail_are_attempts(make_harness: MakeHarness) -> None:
    harness = make_harness(2, traces={})
    harness.refuse(1)
    harness.ask(request(parent(SAMPLED)))
    _, span, _ = told(harness.upstream.take())
    harness.answer()
    (record,) = traced(harness)
    assert attempts(record) == [
        ("app1:8000", False, 0, "connect_refused"),
        ("app2:8000", True, 200, ""),
    ]
    assert record.attempts[1].span == span != record.attempts[0].span


def test_of_a_race_the_winner_is_an_attempt(make_harness: MakeHarness) -> None:
    harness = make_harness(2, traces={})
    harness.hold(1)
    harness.ask(request(parent(SAMPLED)))
    harness.advance(0.25)
    harness.answer()
    (record,) = traced(harness)
    assert attempts(record) == [("app2:8000", True, 200, "")]
    (attempt,) = record.attempts
    assert (attempt.began_ns, attempt.sent_ns) == (250_000_000, 250_000_000)


def test_an_attempt_begins_with_its_dial(make_harness: MakeHarness) -> None:
    harness = make_harness(1, traces={})
    harness.hold(1)
    harness.ask(request(parent(SAMPLED)))
    harness.clock.advance(0.125)
    harness.loop.dials[0].accept()
    harness.settle()
    harness.clock.advance(0.5)
    harness.answer()
    (attempt,) = traced(harness)[0].attempts
    assert (attempt.began_ns, attempt.sent_ns, attempt.ended_ns) == (0, 125_000_000, 625_000_000)


def test_a_dial_that_is_given_up_is_an_attempt(make_harness: MakeHarness) -> None:
    harness = make_harness(1, traces={})
    harness.hold(1)
    client = harness.ask(request(parent(SAMPLED)))
    client.receive_eof()
    harness.settle()
    (record,) = traced(harness)
    assert attempts(record) == [("app1:8000", False, 0, "client_gone")]


def test_a_stale_connection_is_an_attempt(harness: Harness) -> None:
    harness.warm()
    assert len(traced(harness)) == 1
    harness.ask(request(parent(SAMPLED)), harness.clients[0])
    first = told(harness.upstream.take())
    harness.upstream.receive_eof()
    harness.settle()
    second = told(harness.upstream.take())
    harness.answer()
    (record,) = traced(harness)
    assert [one.span for one in record.attempts] == [first[1], second[1]]
    assert attempts(record) == [("app1:8000", True, 0, "upstream_closed"), ("app1:8000", True, 200, "")]
    assert [one.reused for one in record.attempts] == [True, False]


def test_a_request_that_no_upstream_gets_has_no_attempt(make_harness: MakeHarness) -> None:
    harness = make_harness(0, traces={}, panic=False)
    assert status_of(harness.ask(request(parent(SAMPLED))).take()) == 503
    (record,) = traced(harness)
    assert (record.attempts, record.reason) == ((), "no_upstream")


@pytest.mark.parametrize(("sample", "flags"), [(0.0, "00"), (1.0, "01")])
def test_the_sample_decides_about_traces_that_begin_here(
    make_harness: MakeHarness, sample: float, flags: str
) -> None:
    harness = make_harness(1, traces={"sample": sample})
    for value, expected in (("", flags), (parent(SAMPLED), "01"), (parent(UNSAMPLED), "00")):
        harness.ask(request(value) if value else GET)
        assert told(harness.upstream.take())[2] == expected
        harness.answer()


def test_only_trusted_proxies_are_believed_if_the_settings_say_so(make_harness: MakeHarness) -> None:
    harness = make_harness(1, traces={}, trusted_proxies=["10.9.0.0/16"], forwarded={"told": ["traceparent"]})
    for address, is_believed in (("10.9.0.1", True), ("192.0.2.1", False)):
        harness.ask(request(parent(SAMPLED), "tracestate: a=1"), harness.client(address))
        head = harness.upstream.take()
        assert (told(head)[0] == TRACE) is is_believed
        assert (b"tracestate" in head) is is_believed
        harness.answer()


def test_without_traces_the_fields_are_forwarded_as_they_came(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    lines = ("TraceParent: anything", "tracestate: ?")
    harness.ask(request(*lines))
    head = harness.upstream.take()
    for line in lines:
        assert f"\r\n{line}\r\n".encode() in head
    assert harness.proxy.take_traces() is None
    harness.answer()


def test_a_websocket_is_a_span_until_it_ends(harness: Harness) -> None:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", parent(SAMPLED))
    client = harness.ask(request(*lines))
    assert told(harness.upstream.take())[0] == TRACE
    harness.answer(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert traced(harness) == []
    harness.clock.advance(60)
    client.lose()
    harness.settle()
    (record,) = traced(harness)
    assert (record.status, record.duration_ns) == (101, 60_000_000_000)
    assert [one.status for one in record.attempts] == [101]


def test_a_wait_for_a_slot_is_recorded(make_harness: MakeHarness) -> None:
    harness = make_harness(1, traces={}, queue={"size": 10, "timeout": 5.0})
    harness.limit(1)
    harness.ask()
    harness.ask(request(parent(SAMPLED)))
    harness.clock.advance(0.5)
    harness.answer()
    harness.answer()
    records = traced(harness)
    assert [one.queue_ns for one in records] == [-1, 500_000_000]
    assert records[1].attempts[0].began_ns == 500_000_000


# --- Tracing


def head(*lines: str) -> RequestHead:
    return parse_request_head(request(*lines), 100, 100, None, _FIELDS)


def test_ids_come_from_the_random_numbers_given() -> None:
    first, second = (Tracing(1.0, Random(7)).position(head(), _PEER) for _ in range(2))
    assert first.trace_id == second.trace_id
    assert Tracing(1.0, Random(8)).position(head(), _PEER).trace_id != first.trace_id


def test_a_share_of_the_traces_is_recorded() -> None:
    tracing = Tracing(0.25, Random(1))
    positions = [tracing.position(head(), _PEER) for _ in range(4000)]
    assert 900 < sum(one.sampled for one in positions) < 1100
    # As OpenTelemetry's TraceIdRatioBased decides by the id.
    assert all(one.sampled is (int(one.trace_id[16:], 16) < 1 << 62) for one in positions)


def test_trusted_proxies_are_believed() -> None:
    tracing = Tracing(1.0, Random(1), believes_all=False)
    told_head = head(parent(SAMPLED))
    assert tracing.position(told_head, _PROXY).trace_id == TRACE.encode()
    assert tracing.position(told_head, _PEER).trace_id != TRACE.encode()


def test_too_many_records_are_counted() -> None:
    tracing = Tracing(1.0, Random(1))
    for _ in range(MAX_BATCH + 3):
        tracing.add(traced_request())
    assert (len(tracing.take()), tracing.dropped) == (MAX_BATCH, 6)
    assert tracing.take() == []
