"""Upstreams are added, removed and change state while requests run; and reports of failed attempts."""

from collections import Counter, deque
from hashlib import sha256
from typing import Any

import pytest

from balancer.connections.connector import Connector
from balancer.counters import Batch
from balancer.errors import Outcome
from balancer.messages import AttemptRecord, FailureRecord, PoolUpdate
from balancer.policies import registry
from balancer.proxy.membership import Membership
from balancer.telemetry.columns import UPSTREAM_CONNECT_FAILURES, UPSTREAM_INFLIGHT
from balancer.upstreams.upstream import Upstream
from tests.fakes.wire import CLIENT_ADDRESS, upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness


def test_a_new_upstream_is_used(harness: Harness) -> None:
    harness.tell(upstream_message(2))
    harness.ask()
    assert harness.dialled == ["10.0.0.2"]
    harness.answer()


def test_a_removed_upstream_ends_its_requests_and_gets_no_new_ones(harness: Harness) -> None:
    busy = harness.ask()
    first = harness.upstream
    harness.tell(upstream_message(2))
    harness.ask()
    harness.answer()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    first.receive(OK)
    harness.settle()
    assert busy.take() == OK
    assert first.is_closing()


def test_idle_connections_of_a_removed_upstream_are_closed(harness: Harness) -> None:
    _, idle = harness.warm()
    harness.tell(upstream_message(2))
    assert idle.is_closing()


def test_the_row_of_a_removed_upstream_is_released_after_its_last_request(harness: Harness) -> None:
    harness.ask()
    running = harness.upstream
    harness.tell(upstream_message(2))
    for _ in range(3):
        harness.proxy.sweep()
    assert harness.proxy.take_released() == []
    running.receive(OK)
    harness.settle()
    harness.proxy.sweep()
    assert harness.proxy.take_released() == []  # a cancelled dial may count a turn later
    harness.proxy.sweep()
    assert harness.proxy.take_released() == [4]
    assert harness.proxy.take_released() == []
    assert harness.page.row(4)[UPSTREAM_INFLIGHT] == 0


def test_an_upstream_that_comes_back_is_a_new_one(harness: Harness) -> None:
    harness.ask()
    old = harness.upstreams[0]
    running = harness.upstream
    harness.tell()
    harness.tell(upstream_message(1, row=9))
    new = harness.upstreams[0]
    assert new is not old
    assert (old.inflight, new.inflight, new.row) == (1, 0, 9)
    running.receive(OK)
    harness.settle()
    assert (old.inflight, new.inflight) == (0, 0)


def test_an_unchanged_upstream_keeps_its_requests(harness: Harness) -> None:
    harness.ask()
    before = harness.upstreams[0]
    harness.tell(upstream_message(1, weight=3), upstream_message(2))
    assert harness.upstreams[0] is before
    assert (before.inflight, before.effective_weight) == (1, 3.0)
    harness.answer()


STATES: dict[str, dict[str, Any]] = {
    "ejected": {"causes": ["active_check"]},
    "draining": {"admin_state": "draining"},
    "in maintenance": {"admin_state": "maintenance"},
    "without an address": {"host": ""},
}


@pytest.mark.parametrize("case", STATES)
def test_an_ineligible_upstream_gets_no_requests(harness: Harness, case: str) -> None:
    harness.tell(upstream_message(1, **STATES[case]), upstream_message(2))
    for _ in range(3):
        harness.ask()
        harness.answer()
    assert set(harness.dialled) == {"10.0.0.2"}


def test_in_panic_ejected_upstreams_are_used(harness: Harness) -> None:
    harness.tell(upstream_message(1, causes=["active_check"]))
    client = harness.ask()
    harness.answer()
    assert client.take() == OK


def test_without_any_upstream_the_answer_is_503(harness: Harness) -> None:
    harness.tell()
    assert harness.ask().take().startswith(b"HTTP/1.1 503 ")


def test_a_pool_that_this_worker_does_not_have_is_of_a_later_one(harness: Harness) -> None:
    membership = Membership(
        Connector(harness.loop, harness.clock, 1, 1, print),
        harness.page.row,
        lambda cap, row: cap,
        Batch(),
    )
    membership.apply(PoolUpdate(name="default", revision=1, starting=False, members=()))
    assert membership.sweep() == []


def test_a_failure_is_reported_with_its_attempts(harness: Harness) -> None:
    harness.tell(upstream_message(1), upstream_message(2))
    harness.refuse(1, 2)
    harness.ask(b"GET /a?b HTTP/1.1\r\nHost: example\r\nX-Request-ID: r1\r\n\r\n")
    (failure,) = harness.proxy.take_failures()
    assert failure == FailureRecord(
        time=harness.clock.wall(),
        status=502,
        reason="connect_refused",
        source="upstream",
        detail="connection refused",
        client=CLIENT_ADDRESS,
        method="GET",
        target="/a?b",
        host="example",
        route="default",
        pool="default",
        request_id="r1",
        attempts=(
            AttemptRecord(upstream="app1:8000", failure="connect_refused", detail="connection refused"),
            AttemptRecord(upstream="app2:8000", failure="connect_refused", detail="connection refused"),
        ),
    )
    assert harness.proxy.take_failures() == []


def test_a_refusal_is_reported_too(harness: Harness) -> None:
    client = harness.client()
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    harness.settle()
    (failure,) = harness.proxy.take_failures()
    assert (failure.reason, failure.method, failure.attempts) == ("malformed_request", None, ())


def test_an_attempt_that_broke_off_is_reported(harness: Harness) -> None:
    harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    harness.upstream.receive_eof()
    harness.settle()
    (failure,) = harness.proxy.take_failures()
    assert [each.failure for each in failure.attempts] == ["upstream_closed"]


def test_reported_failures_are_bounded(harness: Harness) -> None:
    harness.tell()
    for number in range(250):
        harness.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    failures = harness.proxy.take_failures()
    assert [failures[0].target, failures[-1].target, len(failures)] == ["/50", "/249", 200]


REFUSED, TIMEOUT, UNREACHABLE = range(3)


@pytest.mark.parametrize(
    ("error", "column"),
    [
        pytest.param(ConnectionRefusedError(), REFUSED, id="refused"),
        pytest.param(OSError(113, "no route"), UNREACHABLE, id="unreachable"),
    ],
)
def test_failed_connects_are_counted_per_upstream(harness: Harness, error: Exception, column: int) -> None:
    harness.refuse(1, error=error)
    harness.ask()
    cells = harness.upstreams[0].cells
    counted = [cells[UPSTREAM_CONNECT_FAILURES + each] for each in range(3)]
    assert counted == [int(each == column) for each in range(3)]


@pytest.mark.parametrize("policy", registry.names())
def test_a_readmitted_upstream_gets_its_ramps_share_under_every_policy(
    make_harness: MakeHarness, policy: str
) -> None:
    """In the first tenth of its slow start: neither none of 2,000 requests nor as many as the others."""
    harness = make_harness(4, policy=policy, slow_start=1000.0)
    ramp = {2: harness.clock.monotonic_ns()}
    harness.tell(*(upstream_message(number, ramp_since_ns=ramp.get(number, 0)) for number in range(1, 5)))
    counts: Counter[str] = Counter()
    running: deque[Upstream] = deque()
    for number in range(2000):
        if len(running) == 12:
            harness.clock.advance(0.005)
            harness.pool.finished(running.popleft(), 60_000_000, Outcome.SUCCESS)
        key = int.from_bytes(sha256(str(number).encode()).digest()[:8])
        chosen = harness.pool.choose(key, (), harness.clock.monotonic_ns())
        assert chosen is not None
        counts[chosen.id] += 1
        running.append(chosen)
    while running:
        harness.pool.finished(running.popleft(), 60_000_000, Outcome.SUCCESS)
    fair = 2000 * 0.1 / 3.1
    assert fair / 4 <= counts["app2:8000"] <= 3 * fair
    assert min(counts[f"app{number}:8000"] for number in (1, 3, 4)) > 2 * counts["app2:8000"]


def test_the_sweep_advances_a_ramp(make_harness: MakeHarness) -> None:
    harness = make_harness(2, slow_start=10.0)
    harness.tell(upstream_message(1), upstream_message(2, ramp_since_ns=harness.clock.monotonic_ns()))
    shares = []
    for _ in range(5):
        shares.append(harness.upstreams[1].effective_weight)
        harness.advance(2.5)
    assert shares == [0.1, 0.25, 0.5, 0.75, 1.0]
    assert harness.upstreams[0].effective_weight == 1.0


@pytest.mark.parametrize("admin_state", ["draining", "maintenance"])
def test_a_tunnel_outlasts_a_drain(make_harness: MakeHarness, admin_state: str) -> None:
    harness = make_harness(2)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n")
    tunnel = harness.upstream
    tunnel.take()
    harness.answer(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n")
    client.take()
    harness.tell(upstream_message(1, admin_state=admin_state), upstream_message(2))
    harness.advance(60)
    client.receive(b"up")
    tunnel.receive(b"down")
    assert (tunnel.take(), client.take()) == (b"up", b"down")
    harness.ask()
    harness.answer()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    tunnel.receive_eof()
    harness.settle()


def test_a_backup_is_used_if_no_other_upstream_is_eligible(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    spare = upstream_message(2, backup=True)
    harness.tell(upstream_message(1), spare)
    for _ in range(2):
        harness.ask()
        harness.answer()
    assert set(harness.dialled) == {"10.0.0.1"}
    harness.tell(upstream_message(1, causes=["active_check"]), spare)
    harness.ask()
    harness.answer()
    assert harness.dialled[-1] == "10.0.0.2"
    late = harness.ask()
    harness.tell(upstream_message(1), spare)
    for _ in range(3):
        harness.ask()
    assert harness.inflight == [3, 1]  # the backup finishes what it has begun
    assert late.take() == b""
    for upstream in harness.loop.transports:
        upstream.receive(OK)
    assert late.take() == OK
