"""Requests that wait because every upstream is full: their order, and every way a wait can end."""

import pytest

from balancer.edges import STANDARD
from balancer.telemetry.columns import POOL_QUEUE_ABANDONED, POOL_QUEUE_WAIT, POOL_QUEUE_WAIT_SUM
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"


@pytest.fixture
def full(make_harness: MakeHarness) -> Harness:
    """One upstream with a limit of one request, which it has; three may wait."""
    harness = make_harness(1, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    return harness


def test_a_request_waits_for_a_slot_and_is_served(full: Harness) -> None:
    first = full.clients[0]
    client = full.ask()
    assert (full.waiting, full.inflight) == (1, [1])
    full.advance(0.3)
    full.answer()
    assert first.take() == OK
    assert (full.waiting, full.inflight) == (0, [1])
    full.answer()
    assert client.take() == OK
    assert len(full.dialled) == 1  # on the connection that has just become free
    assert full.pool.cells[POOL_QUEUE_WAIT + STANDARD.cell(300_000_000)] == 1
    assert full.pool.cells[POOL_QUEUE_WAIT_SUM] == 300_000_000


def test_waiting_needs_no_task_and_no_timer_beyond_the_queues_one(full: Harness) -> None:
    before = full.loop.armed_timers
    for _ in range(3):
        full.ask()
    assert full.loop.armed_timers == before + 1
    assert len(full.dialled) == 1


def test_first_come_first_served_even_if_a_slot_is_free_on_arrival(full: Harness) -> None:
    waiting = [full.ask(), full.ask()]
    full.upstream.receive(OK)  # the slot is free, but none has been served yet
    late = full.client()
    late.receive(GET)
    full.settle()
    assert full.waiting == 2
    for client in (*waiting, late):
        full.answer()
        assert client.take() == OK


def test_at_the_deadline_the_answer_is_503(full: Harness) -> None:
    client = full.ask()
    full.advance(4.99)
    assert client.take() == b""
    full.advance(0.02)
    sent = client.take()
    assert status_of(sent) == 503
    assert {
        b"Retry-After: 1",
        b'Proxy-Status: balancer; error=connection_limit_reached; details="queue_timeout"',
    } <= set(head_of(sent))
    assert b"Connection: close" not in head_of(sent)
    assert full.rejected() == {"timeout": 1}
    assert full.logged()["reason"] == "queue_timeout"
    assert (full.logged()["upstream"], full.logged()["attempts"]) == (None, 0)
    full.answer()
    full.ask(client=client)
    full.answer()
    assert client.take() == OK


def test_with_a_full_queue_the_answer_is_503_at_once(full: Harness) -> None:
    for _ in range(3):
        full.ask()
    client = full.ask()
    sent = client.take()
    assert status_of(sent) == 503
    assert b"Retry-After: 1" in head_of(sent)
    assert full.rejected() == {"full": 1}
    assert full.local_counted("queue_full") == 1
    assert full.waiting == 3


def test_without_a_queue_the_answer_is_503_at_once(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.limit(1)
    harness.ask()
    sent = harness.ask().take()
    assert status_of(sent) == 503
    assert {
        b"Retry-After: 1",
        b'Proxy-Status: balancer; error=connection_limit_reached; details="upstreams_full"',
    } <= set(head_of(sent))
    assert harness.rejected() == {"full": 1}
    assert harness.local_counted("upstreams_full") == 1


@pytest.mark.parametrize("how", ["FIN", "reset"])
def test_a_client_that_leaves_frees_its_slot(full: Harness, how: str) -> None:
    gone, client = full.ask(), full.ask()
    if how == "FIN":
        gone.receive_eof()
    else:
        gone.lose(ConnectionResetError())
    assert full.waiting == 1
    assert full.logged()["status"] == 499
    assert full.pool.cells[POOL_QUEUE_ABANDONED] == 1
    full.answer()
    full.answer()
    assert client.take() == OK
    assert gone.take() == b""


def test_an_upstream_with_a_free_slot_is_used(make_harness: MakeHarness) -> None:
    harness = make_harness(3, queue={"size": 3})
    harness.limit(2)
    for _ in range(7):
        harness.ask()
    assert (harness.inflight, harness.waiting) == ([2, 2, 2], 1)
    harness.loop.transports[3].receive(OK)
    harness.settle()
    assert (harness.inflight, harness.waiting) == ([2, 2, 2], 0)


# --- other events meanwhile


def test_waiting_counts_towards_no_other_timeout(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 3, "timeout": 100.0}, timeouts={"first_byte": 10.0})
    harness.limit(1)
    harness.ask()
    harness.advance(6.0)
    client = harness.ask()
    for _ in range(4):
        harness.answer(b"HTTP/1.1 103 Hint\r\n\r\n")
        harness.advance(0.9)
    harness.answer()
    assert harness.waiting == 0
    harness.advance(9.0)
    assert client.take() == b""
    harness.answer()
    assert client.take() == OK


def test_the_first_byte_timeout_starts_when_the_request_has_a_slot(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 3, "timeout": 100.0}, timeouts={"first_byte": 10.0})
    harness.limit(1)
    client = harness.ask()
    other = harness.ask()
    harness.advance(10.3)  # the first one is too late
    assert status_of(client.take()) == 504
    assert (harness.waiting, harness.inflight) == (0, [1])
    harness.advance(9.0)
    assert other.take() == b""
    harness.advance(1.3)
    assert status_of(other.take()) == 504


def test_the_total_timeout_includes_waiting(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 3}, timeouts={"total": 2.0})
    harness.limit(1)
    harness.ask()
    harness.advance(1.5)
    client = harness.ask()
    harness.advance(2.1)
    sent = client.take()
    assert status_of(sent) == 504
    assert b"it was still waiting" in sent
    assert harness.logged()["reason"] == "total_timeout"
    assert harness.waiting == 0


def test_one_piece_of_a_body_is_kept_and_the_rest_stays_with_the_client(full: Harness) -> None:
    client = full.ask(POST + b"ab")
    client.receive(b"cd")
    assert not client.reading
    client.receive(b"ef")
    full.advance(4.0)
    full.answer()
    full.settle()
    assert client.reading
    assert full.upstream.take().endswith(b"abcdef")
    full.answer()
    assert client.take() == OK


def test_a_slow_body_is_not_a_fault_while_the_request_waits(make_harness: MakeHarness) -> None:
    harness = make_harness(
        1, queue={"size": 3, "timeout": 200.0}, timeouts={"idle": 5.0, "first_byte": 100.0}
    )
    harness.limit(1)
    harness.ask()
    client = harness.ask(POST + b"ab")
    client.receive(b"cd")
    harness.advance(20.0)
    harness.advance(20.0)
    assert client.take() == b""
    harness.answer()
    assert harness.waiting == 0
    harness.advance(5.3)  # now it waits for the client
    assert status_of(client.take()) == 408


def test_pipelined_requests_wait_one_by_one(full: Harness) -> None:
    client = full.ask(GET * 2)
    assert full.waiting == 1
    full.answer()
    full.answer()
    full.answer()
    assert client.take() == OK * 2


def test_the_next_pipelined_request_waits_after_the_first_has_timed_out(full: Harness) -> None:
    client = full.ask(GET * 2)
    full.advance(5.01)
    assert status_of(client.take()) == 503
    assert full.waiting == 1
    full.answer()
    full.answer()
    assert client.take() == OK


# --- membership


def test_a_new_upstream_serves_waiting_requests(full: Harness) -> None:
    client = full.ask()
    full.tell(upstream_message(1, max_inflight=1), upstream_message(2, max_inflight=1))
    full.settle()
    assert (full.waiting, full.dialled) == (0, ["10.0.0.1", "10.0.0.2"])
    full.answer()
    assert client.take() == OK


def test_a_raised_limit_serves_waiting_requests(full: Harness) -> None:
    clients = [full.ask() for _ in range(3)]
    full.limit(3)
    full.settle()
    assert (full.waiting, full.inflight) == (1, [3])
    full.limit(0)
    full.settle()
    assert (full.waiting, full.inflight) == (0, [4])
    for upstream in full.loop.transports:
        upstream.receive(OK)
    full.settle()
    assert all(client.take() == OK for client in clients)


def test_if_the_last_upstream_is_removed_waiting_requests_fail(full: Harness) -> None:
    client = full.ask()
    full.tell()
    full.settle()
    assert status_of(client.take()) == 503
    assert full.logged()["reason"] == "no_upstream"
    assert full.waiting == 0


def test_a_waiting_retry_fails_if_its_other_upstreams_are_removed(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    harness.refuse(2)
    client = harness.ask()
    harness.accept(2)
    harness.ask()
    assert (harness.inflight, harness.waiting) == ([1, 1], 1)
    harness.tell(upstream_message(2, max_inflight=1))
    harness.settle()
    assert status_of(client.take()) == 502
    assert (harness.inflight, harness.waiting) == ([1], 0)
    harness.loop.transports[0].receive(OK)


def test_an_attempt_at_a_removed_upstream_frees_no_slot(full: Harness) -> None:
    client = full.ask()
    full.tell(upstream_message(2, max_inflight=1, row=9))
    full.settle()
    old, new = full.loop.transports
    last = full.ask()
    old.receive(OK)
    full.settle()
    assert (full.waiting, full.inflight) == (1, [1])
    new.receive(OK)
    full.settle()
    assert client.take() == OK
    assert full.waiting == 0
    full.answer()
    assert last.take() == OK


# --- dials, races and retries


def test_a_dial_holds_a_slot_and_returns_it_when_it_fails(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 3})
    harness.limit(1)
    harness.hold(1)
    harness.ask()
    client = harness.ask()
    assert (harness.waiting, harness.inflight) == (1, [1])
    harness.accept(1)
    harness.loop.dials[0].fail(ConnectionRefusedError())
    harness.settle()
    assert status_of(harness.clients[0].take()) == 502
    assert harness.waiting == 0
    harness.answer()
    assert client.take() == OK


def test_no_race_starts_if_no_upstream_has_a_free_slot(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    harness.hold(2)
    harness.ask()
    harness.advance(0.3)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert (harness.waiting, harness.retries()) == (0, {})


def test_a_request_that_could_not_connect_waits_for_another_upstream(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    harness.refuse(2)
    client = harness.ask(POST + b"abcdef")
    assert (harness.inflight, harness.waiting) == ([1, 0], 1)
    harness.loop.transports[0].receive(OK)
    harness.settle()
    assert (harness.inflight, harness.waiting) == ([1, 0], 0)
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {"connect_failed": 1}


def test_a_request_waiting_for_another_upstream_does_not_block_the_queue(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    harness.refuse(2)
    retried = harness.ask()
    assert harness.waiting == 1
    harness.accept(2)
    client = harness.ask()
    assert (harness.inflight, harness.waiting) == ([1, 1], 1)
    harness.answer()
    assert client.take() == OK
    assert harness.waiting == 1
    harness.loop.transports[0].receive(OK)
    harness.settle()
    harness.loop.transports[0].receive(OK)
    assert retried.take() == OK


def test_a_retry_waits_too(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    other = harness.ask()
    client = harness.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef")
    harness.loop.transports[1].receive_eof()
    harness.settle()
    assert (harness.inflight, harness.waiting, harness.retries()) == ([1, 0], 1, {"upstream_closed": 1})
    harness.loop.transports[0].take()
    harness.loop.transports[0].receive(OK)
    harness.settle()
    assert other.take() == OK
    assert harness.loop.transports[0].take().endswith(b"abcdef")
    harness.loop.transports[0].receive(OK)
    assert client.take() == OK


def test_a_retry_with_a_full_queue_fails_as_it_did_before(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 1})
    harness.limit(1)
    for _ in range(3):
        harness.ask()
    harness.hold(1, 2)
    harness.loop.transports[1].receive_eof()
    harness.settle()
    assert status_of(harness.clients[1].take()) == 502
    assert (harness.logged()["reason"], harness.retries()) == ("upstream_closed", {})


def test_a_kept_response_is_passed_on_if_no_other_upstream_can_be_tried(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    client = harness.ask()
    harness.loop.transports[1].receive(b"HTTP/1.1 503 No\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    harness.settle()
    assert status_of(client.take()) == 503
    assert b"Proxy-Status" not in client.take()
    assert (harness.waiting, harness.retries()) == (0, {})


def test_a_retry_that_timed_out_in_the_queue_reports_its_first_failure(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 3})
    harness.limit(1)
    harness.ask()
    harness.refuse(2)
    client = harness.ask()
    harness.advance(5.01)
    assert status_of(client.take()) == 502
    assert harness.logged()["reason"] == "connect_refused"
    assert harness.rejected() == {"timeout": 1}


def test_a_stale_connection_keeps_its_slot(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 3})
    harness.limit(1)
    client, idle = harness.warm()
    harness.ask(client=client)
    other = harness.ask()
    idle.receive_eof()
    harness.settle()
    assert (harness.inflight, harness.waiting) == ([1], 1)
    harness.answer()
    assert client.take() == OK
    harness.answer()
    assert other.take() == OK


# --- the end


def test_during_a_drain_waiting_requests_are_served(full: Harness) -> None:
    client = full.ask()
    full.proxy.drain()
    full.advance(2.0)
    full.answer()
    full.answer()
    sent = client.take()
    assert body_of(sent) == b"ok"
    assert b"Connection: close" in head_of(sent)
    assert full.proxy.connections == 0


def test_at_the_end_of_a_drain_waiting_requests_get_503(full: Harness) -> None:
    client = full.ask()
    full.proxy.drain()
    full.proxy.abort_all()
    full.settle()
    assert status_of(client.take()) == 503
    assert full.logged()["reason"] == "drain_timeout"
    assert full.waiting == 0
    assert full.loop.armed_timers == 0


def test_a_bug_in_one_served_request_ends_only_that_request(full: Harness) -> None:
    full.expects_bug = True
    broken, client = full.ask(), full.ask()
    broken.protocol.exchange.unsent = (None,)  # type: ignore[attr-defined]
    full.answer()
    assert status_of(broken.take()) == 500
    full.answer()
    assert client.take() == OK
