"""A request that has failed at every candidate goes to a standby backup, by the rules of any retry."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
PRIMARY, BACKUP, SECOND_BACKUP = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def with_backup(
    make_harness: MakeHarness, backups: int = 1, backup: dict[str, Any] | None = None, **settings: Any
) -> Harness:
    """One upstream, and backups with these changes."""
    harness = make_harness(1 + backups, **settings)
    changes = {"backup": True, **(backup or {})}
    harness.tell(upstream_message(1), *(upstream_message(2 + number, **changes) for number in range(backups)))
    return harness


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_a_request_that_could_not_connect_goes_to_the_backup(
    make_harness: MakeHarness, request_: bytes
) -> None:
    harness = with_backup(make_harness)
    harness.refuse(1)
    client = harness.ask(request_)
    harness.answer()
    assert client.take() == OK
    assert harness.dialled == [PRIMARY, BACKUP]
    assert harness.retries() == {"connect_failed": 1}
    assert harness.inflight == [0, 0]


@pytest.mark.parametrize("how", ["closed", "busy"])
def test_a_request_that_may_be_sent_again_goes_to_the_backup(make_harness: MakeHarness, how: str) -> None:
    harness = with_backup(make_harness)
    client = harness.ask()
    if how == "busy":
        harness.answer(BUSY)
    else:
        harness.upstream.receive_eof()
        harness.settle()
    harness.answer()
    assert client.take() == OK
    assert harness.dialled == [PRIMARY, BACKUP]
    assert harness.inflight == [0, 0]


def test_a_request_that_may_not_be_sent_again_does_not_go_to_the_backup(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness)
    client = harness.ask(POST)
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502
    assert harness.dialled == [PRIMARY]


def test_attempts_at_backups_count_towards_max_attempts(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness, backups=3, retry={"max_attempts": 2})
    client = harness.ask()
    harness.answer(BUSY)
    harness.answer(BUSY)
    assert client.take() == BUSY
    assert harness.dialled == [PRIMARY, BACKUP]


def test_retries_at_backups_use_the_budget(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness, retry={"budget_ratio": 0.0, "budget_min_per_second": 0.0})
    client = harness.ask()
    harness.answer(BUSY)
    assert client.take() == BUSY
    assert harness.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 1
    assert (harness.dialled, harness.inflight) == ([PRIMARY], [0, 0])


def test_candidates_are_tried_before_backups(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    harness.tell(upstream_message(1), upstream_message(2, backup=True), upstream_message(3))
    harness.refuse(1, 3)
    client = harness.ask()
    harness.answer()
    assert client.take() == OK
    assert harness.dialled[2:] == ["10.0.0.2"]
    assert set(harness.dialled[:2]) == {"10.0.0.1", "10.0.0.3"}


def test_if_a_backup_fails_the_next_one_is_tried(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness, backups=2)
    harness.refuse(1, 2, 3)
    client = harness.ask()
    assert status_of(client.take()) == 502
    assert harness.dialled == [PRIMARY, BACKUP, SECOND_BACKUP]
    assert harness.inflight == [0, 0, 0]


def test_backups_take_turns(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness, backups=2, keepalive={"max_idle": 0})
    harness.refuse(1)
    for _ in range(4):
        harness.ask()
        harness.answer()
    assert harness.dialled[1::2] == [BACKUP, SECOND_BACKUP] * 2


@pytest.mark.parametrize(
    "backup",
    [
        {"causes": ["active_check"]},
        {"admin_state": "draining"},
        {"on_probation": True},
        {"first_check": "required"},
    ],
    ids=str,
)
def test_an_unhealthy_backup_is_not_used(make_harness: MakeHarness, backup: dict[str, Any]) -> None:
    harness = with_backup(make_harness, backup=backup)
    harness.refuse(1)
    assert status_of(harness.ask().take()) == 502
    assert harness.dialled == [PRIMARY]


def test_a_full_backup_is_not_used(make_harness: MakeHarness) -> None:
    harness = with_backup(make_harness, backup={"max_inflight": 1})
    harness.refuse(1)
    first, second = harness.ask(), harness.ask()
    assert status_of(second.take()) == 502
    harness.answer()
    assert first.take() == OK


def test_a_slow_dial_does_not_use_a_backup(make_harness: MakeHarness) -> None:
    """A backup may be a mere sorry server; it joins no connect race."""
    harness = with_backup(make_harness)
    harness.hold(1)
    harness.ask()
    harness.advance(0.9)
    assert harness.dialled == [PRIMARY]
    harness.advance(0.2)  # the connect timeout
    assert harness.dialled == [PRIMARY, BACKUP]


def test_a_request_waiting_for_a_full_candidate_keeps_waiting_for_it(make_harness: MakeHarness) -> None:
    harness = make_harness(3, queue={"size": 3})
    harness.tell(upstream_message(1), upstream_message(2, backup=True), upstream_message(3, max_inflight=1))
    harness.refuse(1)
    holder = harness.ask()
    while harness.inflight[2] == 0:
        holder = harness.ask()
    third = harness.upstream
    waiting = harness.ask()
    assert harness.waiting == 1
    third.receive(OK)
    harness.settle()
    assert holder.take() == OK
    harness.answer()
    assert waiting.take() == OK
    assert BACKUP not in harness.dialled


def test_policies_are_told_of_backups(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = with_backup(make_harness, policy="telling")
    harness.ask()
    harness.answer(BUSY)
    harness.answer()
    assert told == [Outcome.SERVER_ERROR, Outcome.SUCCESS]
