"""The output of the table: plain blocks, rarely and only on changes; a drawn table on a terminal."""

from io import StringIO

import pytest
from rich.console import Console

from balancer.demo.display import LiveDisplay, PlainDisplay, display_for
from balancer.demo.table import Row


def row(requests: str) -> Row:
    return Row("app1", "active", requests, "100%", "0", "5.0 ms", "9.5 ms")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        pytest.param([(0.0, "0"), (5.0, "0")], [], id="nothing before the first request"),
        pytest.param([(0.0, "1"), (5.0, "2")], ["1", "2"], id="every change, when far apart"),
        pytest.param([(0.0, "1"), (5.0, "1"), (9.0, "1")], ["1"], id="no repetition"),
        pytest.param([(0.0, "1"), (0.5, "2"), (1.9, "3"), (2.0, "4")], ["1", "4"], id="one in two seconds"),
    ],
)
def test_plain_blocks_are_printed_on_changes_two_seconds_apart(
    shown: list[tuple[float, str]], expected: list[str]
) -> None:
    output = StringIO()
    with PlainDisplay(Console(file=output)) as display:
        for now, requests in shown:
            display.show([row(requests)], "", now)
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert [line[2] for line in lines if line[0] == "app1"] == expected


def test_a_note_is_printed_below_the_plain_rows() -> None:
    output = StringIO()
    with PlainDisplay(Console(file=output)) as display:
        display.show([row("1")], "load: 1 requests, 0 failed", 0.0)
    assert output.getvalue().splitlines()[-1] == "load: 1 requests, 0 failed"


def test_a_terminal_gets_a_table() -> None:
    output = StringIO()
    with LiveDisplay(Console(file=output, force_terminal=True, width=100)) as display:
        display.show([row("1,234")], "a note", 0.0)
    assert "1,234" in output.getvalue()
    assert "inflight" in output.getvalue()
    assert "a note" in output.getvalue()


@pytest.mark.parametrize(
    ("terminal", "kind"),
    [pytest.param(True, LiveDisplay, id="terminal"), pytest.param(False, PlainDisplay, id="file")],
)
def test_the_display_depends_on_the_output(terminal: bool, kind: type) -> None:
    assert isinstance(display_for(Console(file=StringIO(), force_terminal=terminal)), kind)
