"""An access-log record names all upstreams that were tried, not only the one that answered."""

from collections.abc import Callable

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness

BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


def answered(harness: Harness) -> None:
    harness.ask()
    harness.answer()


def refused(harness: Harness) -> None:
    harness.refuse(1)
    answered(harness)


def closed(harness: Harness) -> None:
    harness.ask()
    harness.upstream.lose()
    harness.settle()
    harness.answer()


def said_503_and_closed(harness: Harness) -> None:
    harness.ask(PUT)
    harness.answer(BUSY)
    harness.upstream.lose()
    harness.settle()
    harness.answer()


def raced(harness: Harness) -> None:
    harness.hold(1)
    harness.ask()
    harness.advance(0.26)
    harness.answer()


def all_refused(harness: Harness) -> None:
    harness.refuse(1, 2, 3)
    harness.ask()


def left_by_its_client(harness: Harness) -> None:
    client = harness.ask()
    harness.upstream.lose()
    harness.settle()
    client.lose()
    harness.settle()


def stale(harness: Harness) -> None:
    """The idle connection ends as it is taken, and another upstream is chosen."""
    client, upstream = harness.warm()
    for _ in range(2):  # it is the turn of the first one again
        harness.ask()
        harness.answer()
    client.receive(GET)
    upstream.lose()
    harness.settle()
    harness.answer()


CASES: dict[str, tuple[Callable[[Harness], None], list[str] | None, str | None]] = {
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
def test_a_record_names_every_upstream_that_was_tried(make_harness: MakeHarness, case: str) -> None:
    play, tried, upstream = CASES[case]
    harness = make_harness(3)
    play(harness)
    record = harness.logged()
    assert (record["tried"], record["upstream"]) == (tried, upstream)


def test_an_upstream_tried_twice_is_named_once(harness: Harness) -> None:
    client, upstream = harness.warm()
    client.receive(GET)
    upstream.lose()
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert (harness.logged()["attempts"], harness.logged()["tried"]) == (2, None)


def test_upstreams_of_the_previous_request_are_not_named(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.refuse(1)
    client = harness.ask()
    harness.answer()
    harness.accept(1)
    harness.ask(client=client)
    harness.answer()
    assert harness.logged()["tried"] is None
