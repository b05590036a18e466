"""The output of `balancer events`, and how following outlives the balancer."""

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from balancer.console.client import AdminClient, UnreachableError
from balancer.console.events import RETRY, Events
from balancer.console.places import Place
from tests.console.answers import event

FIRST, SECOND = "2026-02-01T11:00:00.000Z", "2026-02-01T13:00:00.000Z"
AWAY = UnreachableError("nothing answers")


class EndError(Exception):
    """The script has ended."""


class ScriptedClient(AdminClient):
    """Returns these answers in turn, and records the requests."""

    def __init__(self, *answers: Mapping[str, Any] | UnreachableError) -> None:
        super().__init__(Place("127.0.0.1", 9901))
        self._answers = list(answers)
        self.asked: list[str] = []

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        if not self._answers:
            raise EndError
        self.asked.append(target.removeprefix("/api/events?"))
        answer = self._answers.pop(0)
        if isinstance(answer, UnreachableError):
            raise answer
        return answer


def answer(started: str, *events: dict[str, Any]) -> dict[str, Any]:
    return {"started": started, "last": events[-1]["revision"] if events else 0, "events": list(events)}


class Harness:
    def __init__(self, *answers: Mapping[str, Any] | UnreachableError, as_json: bool = False) -> None:
        self.client = ScriptedClient(*answers)
        self.slept: list[float] = []
        self._out, self._notices = StringIO(), StringIO()
        self.events = Events(
            self.client,
            Console(file=self._out, width=80, highlight=False),
            Console(file=self._notices, width=80, highlight=False),
            as_json=as_json,
            sleep=self.slept.append,
        )

    def follow(self) -> None:
        self.events.show()
        with pytest.raises(EndError):
            self.events.follow()

    @property
    def out(self) -> list[str]:
        return self._out.getvalue().splitlines()

    @property
    def notices(self) -> list[str]:
        return self._notices.getvalue().splitlines()


def test_each_event_is_one_line_however_long() -> None:
    harness = Harness(answer(FIRST, event(1, text=f"app1:8000 ejected: {'x' * 100}"), event(2, "panic_over")))
    harness.events.show()
    assert harness.out == [
        f"2026-02-01T12:00:00.000Z  ejected        default: app1:8000 ejected: {'x' * 100}",
        "2026-02-01T12:00:00.000Z  panic over     default: app1:8000 ejected: it fails",
    ]
    assert harness.notices == []


def test_an_empty_log_is_reported_on_stderr() -> None:
    harness = Harness(answer(FIRST))
    harness.events.show()
    assert harness.out == []
    assert harness.notices == [f"nothing has changed since the balancer started at {FIRST}"]


def test_json_has_a_line_per_event(capsys: pytest.CaptureFixture[str]) -> None:
    harness = Harness(answer(FIRST, event(1), event(2)), as_json=True)
    harness.events.show()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [event(1), event(2)]


def test_following_asks_for_events_after_the_last_one() -> None:
    harness = Harness(answer(FIRST, event(1)), {**answer(FIRST), "last": 2}, answer(FIRST, event(3)))
    harness.follow()
    assert harness.client.asked == ["after=0&wait=0", "after=1&wait=25", "after=2&wait=25"]
    assert len(harness.out) == 2


def test_following_resumes_where_it_was_after_an_outage() -> None:
    harness = Harness(answer(FIRST, event(1)), AWAY, AWAY, answer(FIRST, event(2)))
    harness.follow()
    assert harness.client.asked == ["after=0&wait=0", "after=1&wait=25", "after=1&wait=0", "after=1&wait=0"]
    assert harness.slept == [RETRY, RETRY]
    assert len(harness.out) == 2
    assert harness.notices == [
        "the balancer on 127.0.0.1:9901 does not answer; waiting for it",
        "the balancer answers again",
    ]


@pytest.mark.parametrize("seen_away", [True, False])
def test_after_a_restart_of_the_balancer_all_events_are_shown(seen_away: bool) -> None:
    away = [AWAY] if seen_away else []
    harness = Harness(
        answer(FIRST, event(1)), *away, answer(SECOND, event(3)), answer(SECOND, event(1), event(2), event(3))
    )
    harness.follow()
    assert harness.client.asked[-1] == "after=0&wait=0"
    assert len(harness.out) == 4
    assert harness.notices[-1] == f"the balancer restarted at {SECOND}"


def test_a_second_outage_during_the_recovery_is_waited_out() -> None:
    harness = Harness(
        answer(FIRST, event(1)), AWAY, answer(SECOND), AWAY, answer(SECOND), answer(SECOND, event(1))
    )
    harness.follow()
    assert len(harness.out) == 2
    assert harness.notices == [
        "the balancer on 127.0.0.1:9901 does not answer; waiting for it",
        f"the balancer restarted at {SECOND}",
    ]


def test_events_that_the_balancer_has_dropped_are_reported() -> None:
    harness = Harness(answer(FIRST, event(1)), answer(FIRST, event(5)))
    harness.follow()
    assert harness.notices == ["3 events are missing: the balancer keeps only the latest"]
