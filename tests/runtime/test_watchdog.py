"""A stuck worker is told from a late one, and from one that has not started yet."""

from collections.abc import Iterator
from itertools import count, repeat

import pytest

from balancer.runtime.watchdog import MOST_TICKS, SILENT_TICKS, STACK_TICKS, STARTING_TICKS, Finding, Watchdog


def findings(watchdog: Watchdog, ticks: int) -> list[tuple[int, Finding]]:
    """The findings, each with its tick of silence."""
    found = [(number, watchdog.tick()) for number in range(1, ticks + 1)]
    return [(number, finding) for number, finding in found if finding is not Finding.NOTHING]


def watchdog(marks: Iterator[int], ready: bool = True) -> Watchdog:
    made = Watchdog(lambda: next(marks))
    made.ready = ready
    return made


@pytest.mark.parametrize(
    ("marks", "ready", "expected"),
    [
        pytest.param(
            repeat(7),
            True,
            [(STACK_TICKS, Finding.SILENT), (SILENT_TICKS, Finding.STUCK)],
            id="counts nothing",
        ),
        pytest.param(
            count(),
            True,
            [(STACK_TICKS, Finding.SILENT), (SILENT_TICKS, Finding.LATE), (MOST_TICKS, Finding.STUCK)],
            id="keeps counting",
        ),
        pytest.param(repeat(0), False, [(STARTING_TICKS, Finding.STUCK)], id="is not ready yet"),
    ],
)
def test_silence_is_judged_by_the_workers_counter(
    marks: Iterator[int], ready: bool, expected: list[tuple[int, Finding]]
) -> None:
    assert findings(watchdog(marks, ready), 2 * MOST_TICKS) == expected


def test_a_late_worker_that_stops_counting_is_stuck() -> None:
    marks = [*range(40), *repeat(40, 40)]
    found = findings(watchdog(iter(marks)), STACK_TICKS + len(marks) - 1)
    assert [finding for _, finding in found] == [Finding.SILENT, Finding.LATE, Finding.STUCK]


@pytest.mark.parametrize("after", [STACK_TICKS - 1, SILENT_TICKS - 1], ids=["before its stack", "after it"])
def test_a_message_ends_silence(after: int) -> None:
    dog = watchdog(repeat(7))
    findings(dog, after)
    dog.heard()
    assert dog.is_well
    assert findings(dog, SILENT_TICKS - 1) == [(STACK_TICKS, Finding.SILENT)]
    assert not dog.is_well


def test_counters_are_not_read_while_all_workers_answer() -> None:
    def never() -> int:
        raise AssertionError

    dog = Watchdog(never)
    dog.ready = True
    assert findings(dog, STACK_TICKS - 1) == []
