"""Which upstreams an access-log record names: all that were tried, not only the one that answered."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancer.telemetry.access_log import FIELDS, AccessLog, Renderer
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage

BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


def answered(stage: Stage) -> None:
    stage.ask()
    stage.answer()


def refused(stage: Stage) -> None:
    stage.refuse(1)
    answered(stage)


def closed(stage: Stage) -> None:
    stage.ask()
    stage.upstream.lose()
    stage.settle()
    stage.answer()


def said_503_and_closed(stage: Stage) -> None:
    stage.ask(PUT)
    stage.answer(BUSY)
    stage.upstream.lose()
    stage.settle()
    stage.answer()


def raced(stage: Stage) -> None:
    stage.hold(1)
    stage.ask()
    stage.advance(0.26)
    stage.answer()


def all_refused(stage: Stage) -> None:
    stage.refuse(1, 2, 3)
    stage.ask()


def left_by_its_client(stage: Stage) -> None:
    client = stage.ask()
    stage.upstream.lose()
    stage.settle()
    client.lose()
    stage.settle()


def stale(stage: Stage) -> None:
    """The idle connection that it takes ends at that moment, and another upstream is chosen."""
    client, upstream = stage.warm()
    for _ in range(2):  # it is the turn of the first one again
        stage.ask()
        stage.answer()
    client.receive(GET)
    upstream.lose()
    stage.settle()
    stage.answer()


CASES: dict[str, tuple[Callable[[Stage], None], list[str] | None, str | None]] = {
    "answered by the first": (answered, None, "app1:8000"),
    "the first refused": (refused, ["app1:8000", "app2:8000"], "app2:8000"),
    "the first closed": (closed, ["app1:8000", "app2:8000"], "app2:8000"),
    "503, then closed": (said_503_and_closed, ["app1:8000", "app2:8000", "app3:8000"], "app3:8000"),
    "the slower one of two dials": (raced, ["app1:8000", "app2:8000"], "app2:8000"),
    "all refused": (all_refused, ["app1:8000", "app2:8000", "app3:8000"], "app3:8000"),
    "its client left": (left_by_its_client, ["app1:8000", "app2:8000"], "app2:8000"),
    "a stale idle connection": (stale, ["app1:8000", "app2:8000"], "app2:8000"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_record_names_every_upstream_that_was_tried(make_stage: MakeStage, case: str) -> None:
    play, tried, upstream = CASES[case]
    stage = make_stage(3)
    play(stage)
    record = stage.logged()
    assert (record["tried"], record["upstream"]) == (tried, upstream)


def test_the_same_upstream_twice_is_one_upstream(stage: Stage) -> None:
    client, upstream = stage.warm()
    client.receive(GET)
    upstream.lose()
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert (stage.logged()["attempts"], stage.logged()["tried"]) == (2, None)


def test_nothing_of_the_request_before_is_named(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.refuse(1)
    client = stage.ask()
    stage.answer()
    stage.accept(1)
    stage.ask(client=client)
    stage.answer()
    assert stage.logged()["tried"] is None


def test_the_line_has_a_list_of_names(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    refused(stage)
    log = AccessLog(True, 1.0, Random(1))
    log.append(stage.records.records[-1])
    line: dict[str, Any] = json.loads(Renderer(FIELDS).render(log.take()))
    assert line["tried"] == ["app1:8000", "app2:8000"]
    assert (line["upstream"], line["attempts"]) == ("app2:8000", 2)
