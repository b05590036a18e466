"""The log of state changes: what is kept, events after a revision, waiting for the next one."""

import asyncio

import pytest

from balancer.telemetry.events import Event, EventLog

PATIENCE = 20.0  # seconds after which a test has failed
AGES = 3600.0  # longer than any test


def event(revision: int, kind: str = "ejected") -> Event:
    return Event(revision, 1000.0, kind, "default", "app1:8000", "active_check", "It answered 500.")


def log_of(*revisions: int, kept: int = 1000) -> EventLog:
    log = EventLog(kept)
    for revision in revisions:
        log.append(event(revision))
    return log


def revisions(events: list[Event]) -> list[int]:
    return [each.revision for each in events]


@pytest.mark.parametrize(
    ("kept", "after", "expected"),
    [
        pytest.param([], 0, [], id="nothing has happened"),
        pytest.param([2, 5, 7], 0, [2, 5, 7], id="from the beginning"),
        pytest.param([2, 5, 7], 5, [7], id="after a kept one"),
        pytest.param([2, 5, 7], 4, [5, 7], id="after a missing one"),
        pytest.param([2, 5, 7], 7, [], id="after the last"),
        pytest.param([2, 5, 7], 99, [], id="ahead of the log"),
        pytest.param([2, 5, 5, 5], 2, [5, 5, 5], id="one revision, several events"),
        pytest.param([2, 5, 5, 5], 5, [], id="all of a revision are known"),
    ],
)
def test_events_after_a_revision_come_oldest_first(kept: list[int], after: int, expected: list[int]) -> None:
    assert revisions(log_of(*kept).after(after)) == expected


def test_only_the_newest_events_are_kept() -> None:
    log = log_of(*range(1, 11), kept=3)
    assert revisions(log.after(0)) == [8, 9, 10]
    assert log.last == 10


def test_an_empty_log_has_no_last_event() -> None:
    assert EventLog().last == 0


def test_revisions_never_decrease() -> None:
    with pytest.raises(ValueError, match="event 4 comes after event 5"):
        log_of(5, 4)


async def test_waiting_ends_at_once_if_there_are_later_events() -> None:
    async with asyncio.timeout(PATIENCE):
        assert revisions(await log_of(1, 2).wait(1, AGES)) == [2]


async def test_waiting_ends_without_events_at_its_timeout() -> None:
    async with asyncio.timeout(PATIENCE):
        assert await log_of(1).wait(1, 0.01) == []


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_waiting_for_zero_seconds_only_asks(seconds: float) -> None:
    log = log_of(1)
    assert await log.wait(1, seconds) == []
    assert revisions(await log.wait(0, seconds)) == [1]


async def test_an_event_wakes_all_waiters() -> None:
    log = EventLog()
    waiting = [asyncio.create_task(log.wait(0, AGES)) for _ in range(3)]
    await asyncio.sleep(0)
    log.append(event(1))
    log.append(event(1, "panic"))
    async with asyncio.timeout(PATIENCE):
        for kinds in await asyncio.gather(*waiting):
            assert [each.kind for each in kinds] == ["ejected", "panic"]


async def test_an_event_that_is_not_later_does_not_end_the_waiting() -> None:
    log = EventLog()
    waiting = asyncio.create_task(log.wait(2, AGES))
    for revision in (1, 2):
        await asyncio.sleep(0)
        log.append(event(revision))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.append(event(3))
    async with asyncio.timeout(PATIENCE):
        assert revisions(await waiting) == [3]
