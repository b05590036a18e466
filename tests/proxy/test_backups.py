"""A request that has failed at every candidate goes to a backup that stands by, by the rules of any retry."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
PRIMARY, BACKUP, SECOND_BACKUP = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def scene(
    make_stage: MakeStage, backups: int = 1, backup: dict[str, Any] | None = None, **settings: Any
) -> Stage:
    """One upstream, and backups with these changes."""
    stage = make_stage(1 + backups, **settings)
    changes = {"backup": True, **(backup or {})}
    stage.tell(upstream_message(1), *(upstream_message(2 + number, **changes) for number in range(backups)))
    return stage


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_what_cannot_be_connected_goes_to_the_backup(make_stage: MakeStage, request_: bytes) -> None:
    stage = scene(make_stage)
    stage.refuse(1)
    client = stage.ask(request_)
    stage.answer()
    assert client.take() == OK
    assert stage.dialled == [PRIMARY, BACKUP]
    assert stage.retries() == {"connect_failed": 1}
    assert stage.inflight == [0, 0]


@pytest.mark.parametrize("how", ["closed", "busy"])
def test_what_may_be_sent_again_goes_to_the_backup(make_stage: MakeStage, how: str) -> None:
    stage = scene(make_stage)
    client = stage.ask()
    if how == "busy":
        stage.answer(BUSY)
    else:
        stage.upstream.receive_eof()
        stage.settle()
    stage.answer()
    assert client.take() == OK
    assert stage.dialled == [PRIMARY, BACKUP]
    assert stage.inflight == [0, 0]


def test_what_may_not_be_sent_again_does_not(make_stage: MakeStage) -> None:
    stage = scene(make_stage)
    client = stage.ask(POST)
    stage.upstream.receive_eof()
    stage.settle()
    assert status_of(client.take()) == 502
    assert stage.dialled == [PRIMARY]


def test_attempts_are_bounded_as_ever(make_stage: MakeStage) -> None:
    stage = scene(make_stage, backups=3, retry={"max_attempts": 2})
    client = stage.ask()
    stage.answer(BUSY)
    stage.answer(BUSY)
    assert client.take() == BUSY
    assert stage.dialled == [PRIMARY, BACKUP]


def test_so_is_the_budget(make_stage: MakeStage) -> None:
    stage = scene(make_stage, retry={"budget_ratio": 0.0, "budget_min_per_second": 0.0})
    client = stage.ask()
    stage.answer(BUSY)
    assert client.take() == BUSY
    assert stage.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 1
    assert (stage.dialled, stage.inflight) == ([PRIMARY], [0, 0])


def test_candidates_come_first(make_stage: MakeStage) -> None:
    stage = make_stage(3)
    stage.tell(upstream_message(1), upstream_message(2, backup=True), upstream_message(3))
    stage.refuse(1, 3)
    client = stage.ask()
    stage.answer()
    assert client.take() == OK
    assert stage.dialled[2:] == ["10.0.0.2"]
    assert set(stage.dialled[:2]) == {"10.0.0.1", "10.0.0.3"}


def test_a_backup_that_fails_too_is_followed_by_the_next(make_stage: MakeStage) -> None:
    stage = scene(make_stage, backups=2)
    stage.refuse(1, 2, 3)
    client = stage.ask()
    assert status_of(client.take()) == 502
    assert stage.dialled == [PRIMARY, BACKUP, SECOND_BACKUP]
    assert stage.inflight == [0, 0, 0]


def test_backups_take_turns(make_stage: MakeStage) -> None:
    stage = scene(make_stage, backups=2, keepalive={"max_idle": 0})
    stage.refuse(1)
    for _ in range(4):
        stage.ask()
        stage.answer()
    assert stage.dialled[1::2] == [BACKUP, SECOND_BACKUP] * 2


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
def test_one_that_is_not_well_is_not_asked(make_stage: MakeStage, backup: dict[str, Any]) -> None:
    stage = scene(make_stage, backup=backup)
    stage.refuse(1)
    assert status_of(stage.ask().take()) == 502
    assert stage.dialled == [PRIMARY]


def test_a_full_one_is_not_asked(make_stage: MakeStage) -> None:
    stage = scene(make_stage, backup={"max_inflight": 1})
    stage.refuse(1)
    first, second = stage.ask(), stage.ask()
    assert status_of(second.take()) == 502
    stage.answer()
    assert first.take() == OK


def test_a_slow_dial_is_no_reason(make_stage: MakeStage) -> None:
    """A backup may be no more than an excuse in nice words; it joins no connect race."""
    stage = scene(make_stage)
    stage.hold(1)
    stage.ask()
    stage.advance(0.9)
    assert stage.dialled == [PRIMARY]
    stage.advance(0.2)  # the connect timeout
    assert stage.dialled == [PRIMARY, BACKUP]


def test_who_waits_at_a_full_candidate_goes_on_waiting_for_it(make_stage: MakeStage) -> None:
    stage = make_stage(3, queue={"size": 3})
    stage.tell(upstream_message(1), upstream_message(2, backup=True), upstream_message(3, max_inflight=1))
    stage.refuse(1)
    holder = stage.ask()
    while stage.inflight[2] == 0:
        holder = stage.ask()
    third = stage.upstream
    waiting = stage.ask()
    assert stage.waiting == 1
    third.receive(OK)
    stage.settle()
    assert holder.take() == OK
    stage.answer()
    assert waiting.take() == OK
    assert BACKUP not in stage.dialled


def test_policies_are_told_of_it(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = scene(make_stage, policy="telling")
    stage.ask()
    stage.answer(BUSY)
    stage.answer()
    assert told == [Outcome.SERVER_ERROR, Outcome.SUCCESS]
