"""How the demo's table is shown: live on a terminal, as plain blocks of lines anywhere else (L7)."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from balancer.demo.table import HEADINGS, Row, plain_lines

PLAIN_INTERVAL = 2.0  # least seconds between two blocks


class Display(Protocol):
    """A context in which `show` may be called at every change; `now` is monotonic, in seconds."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, rows: Sequence[Row], note: str, now: float) -> None:
        """Show the rows, and `note` as one more line, "" for none."""


class LiveDisplay:
    """The table, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row], note: str, now: float) -> None:
        table = Table()
        for column, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="left" if column < 2 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row.cells))
        self._live.update(Group(table, Text(note)) if note else table, refresh=True)


class PlainDisplay:
    """A block of lines when something has changed, at most one every PLAIN_INTERVAL seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def show(self, rows: Sequence[Row], note: str, now: float) -> None:
        block = [*plain_lines(rows), note] if note else plain_lines(rows)
        if block == self._shown or now < self._next or all(row.requests == "0" for row in rows):
            return
        self._shown = block
        self._next = now + PLAIN_INTERVAL
        self._console.print("\n".join(block), highlight=False, markup=False, soft_wrap=True)


def display_for(console: Console) -> Display:
    """The display for this kind of output."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)
