"""One's own sources: what they report is used, and what they raise ends neither them nor the instance."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import pytest

from balancer.discovery.base import MemberSource
from balancer.discovery.own import FIRST_PAUSE, LONGEST_PAUSE
from balancer.policies.plugins import PluginError
from balancer.spec.instance import OwnSourceSpec
from tests.discovery.harness import Harness

URL = "rota://web?tag=v2"


class Script:
    """What the source does, one after the other: reports a list, raises an exception, or ends (None)."""

    def __init__(self, harness: Harness) -> None:
        self.steps: asyncio.Queue[Iterable[str] | BaseException | None] = asyncio.Queue()
        self.urls: list[str] = []
        self.closed = 0
        self._harness = harness
        harness.own = self._build

    def _build(self, url: str) -> MemberSource:
        self.urls.append(url)
        return _Scripted(url, self)

    def does(self, step: Iterable[str] | BaseException | None) -> None:
        self.steps.put_nowait(step)
        self._harness.loop.settle()


class _Scripted(MemberSource):
    def __init__(self, url: str, script: Script) -> None:
        super().__init__(url)
        self._script = script

    async def watch(self) -> AsyncIterator[Iterable[str]]:
        try:
            while (step := await self._script.steps.get()) is not None:
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self._script.closed += 1


@pytest.fixture
def script(harness: Harness) -> Script:
    harness.discovery.watch_entry("default", OwnSourceSpec(id=URL))
    script = Script(harness)
    harness.start()
    return script


def test_what_is_reported_are_the_members(harness: Harness, script: Script) -> None:
    script.does(["10.0.0.2:8000?weight=2", "https://10.0.0.3:8443"])
    first, second = harness.fleet.members["default", URL]
    assert (first.id, first.weight) == ("10.0.0.2:8000", 2)
    assert second.server_name == "10.0.0.3"
    script.does(iter(["10.0.0.3:8443"]))
    assert harness.addresses(URL) == ["10.0.0.3"]
    script.does([])
    assert harness.addresses(URL) == []
    assert script.urls == [URL]


def test_a_crash_is_logged_keeps_the_members_and_is_followed_by_a_new_start(
    harness: Harness, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    script.does(["10.0.0.2:8000"])
    script.does(ZeroDivisionError("division by zero"))
    (line,) = caplog.messages
    assert line.startswith(f"{URL} fails (ZeroDivisionError: division by zero (test_own.py, line ")
    assert line.endswith("; started again); keeping its 1 upstream")
    assert harness.addresses(URL) == ["10.0.0.2"]
    assert script.urls == [URL]
    harness.advance(FIRST_PAUSE)
    assert script.urls == [URL, URL]
    script.does(["10.0.0.3:8000"])
    assert harness.addresses(URL) == ["10.0.0.3"]
    assert caplog.messages[1:] == [f"{URL} works again"]
    assert harness.fleet.problems == {("default", URL): ""}


@pytest.mark.parametrize(
    ("end", "why"),
    [
        pytest.param(None, "watch() has ended; it must go on until it is cancelled", id="end"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exit"),
        pytest.param(PluginError("x"), "PluginError: x", id="own_error"),
    ],
)
def test_no_way_to_end_ends_the_instance(
    harness: Harness, script: Script, end: BaseException | None, why: str
) -> None:
    script.does(end)
    assert why in harness.fleet.problems["default", URL]
    assert not harness.task.done()


def test_the_pause_doubles_until_it_reports_something(harness: Harness, script: Script) -> None:
    starts = []
    for _ in range(200):
        script.does(ValueError("no luck"))
        before = len(script.urls)
        while len(script.urls) == before:
            harness.advance(0.5)
        starts.append(harness.loop.time())
        if len(starts) == 8:
            break
    pauses = [round(b - a, 1) for a, b in pairwise(starts)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    script.does(["10.0.0.2:8000"])
    script.does(ValueError("no luck"))
    harness.advance(FIRST_PAUSE)
    assert len(script.urls) == 10


def test_a_bad_report_changes_nothing_and_the_next_one_counts(harness: Harness, script: Script) -> None:
    script.does(["10.0.0.2:8000"])
    script.does(["app1:8000"])
    assert harness.addresses(URL) == ["10.0.0.2"]
    assert harness.fleet.problems["default", URL].startswith("entry 1: app1:8000 has no IP address")
    script.does(["10.0.0.3:8000"])
    assert harness.addresses(URL) == ["10.0.0.3"]
    assert script.urls == [URL]


def test_one_that_reports_nothing_delays_the_start_for_the_timeout_at_most(
    harness: Harness, script: Script
) -> None:
    assert not harness.asked.done()
    harness.advance(2.0)
    assert harness.asked.done()
    assert harness.fleet.problems == {("default", URL): "no answer within 2 s"}


def test_it_is_closed_when_it_is_forgotten(harness: Harness, script: Script) -> None:
    script.does(["10.0.0.2:8000"])
    harness.discovery.forget_entry("default", URL)
    harness.loop.settle()
    assert script.closed == 1
    assert harness.addresses(URL) == ["10.0.0.2"]


def test_one_that_cannot_be_built_is_tried_again(harness: Harness) -> None:
    def refuse(url: str) -> MemberSource:
        raise PluginError("has no tag; write rota://web?tag=v2")

    harness.own = refuse
    harness.discovery.watch_entry("default", OwnSourceSpec(id=URL))
    harness.start()
    assert harness.fleet.problems["default", URL] == "has no tag; write rota://web?tag=v2; started again"
    script = Script(harness)
    harness.advance(FIRST_PAUSE)
    assert script.urls == [URL]


def test_a_watch_that_is_no_generator_is_reported(harness: Harness) -> None:
    class Wrong(MemberSource):
        async def watch(self) -> list[str]:  # type: ignore[override]  # the mistake
            return ["10.0.0.2:8000"]

    harness.own = Wrong
    harness.discovery.watch_entry("default", OwnSourceSpec(id=URL))
    harness.start()
    assert harness.fleet.problems["default", URL].startswith("watch() is no async generator; it must yield")
    assert not harness.task.done()
