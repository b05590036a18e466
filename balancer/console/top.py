"""`balancer top` (L7): a live table of pools and upstreams, in place, with a look into one of them."""

import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from balancer.clock import Clock, SystemClock
from balancer.console import top_detail, top_keys
from balancer.console.client import AdminClient, UnreachableError
from balancer.console.top_poll import Polling, Source
from balancer.console.top_rates import ORDERS, Look, Row, UpstreamRow, bounds, ordered, rows
from balancer.console.top_table import lines, table

TICK = 0.25  # seconds after which the screen is drawn again, if no key is pressed
_SURROUND = 3  # lines besides the rows: headings, how many more there are, and the keys
_EVENTS_SURROUND = 3  # empty lines, and the keys


class Top:
    """What is shown, and how keys change that."""

    def __init__(self, sources: Sequence[Source], clock: Clock, order: str = "name") -> None:
        self._sources = sources
        self._clock = clock
        self.order = order
        self.cursor: tuple[str, str] | None = None  # pool and id of the marked upstream
        self.looks_into = False
        self.quits = False
        self._first = 0  # row on the screen
        self._drawn: tuple[object, ...] = ()
        self._looks: list[Look] = []
        self._kept: Sequence[Row] = ()
        self._bounds: Sequence[float] = ()  # of the buckets in these

    def press(self, key: str, page: int = 10) -> None:
        """React to a key; `page` is how many rows a page has."""
        orders = {letter: order for order, (letter, _) in ORDERS.items()}
        moves = {top_keys.UP: -1, top_keys.DOWN: 1, top_keys.PAGE_UP: -page, top_keys.PAGE_DOWN: page}
        if key == "q":
            self.quits = True
        elif key in (top_keys.ESCAPE, top_keys.LEFT):
            self.looks_into = False
        elif key in orders:
            self.order = orders[key]
        elif key in moves:
            self._move(moves[key])
        elif key == top_keys.ENTER:
            self.looks_into = self._marked() is not None
        for source in self._sources:
            source.of_interest = self.cursor if self.looks_into else None

    def _rows(self) -> Sequence[Row]:
        """Those of the instances that answer; if none does, of all. Drawing is more frequent than looking."""
        fresh = [one for one in self._sources if not one.trouble] or self._sources
        looks = [one.look for one in fresh if one.look is not None]
        drawn = (self.order, *map(id, looks))
        if drawn != self._drawn:
            self._drawn, self._looks = drawn, looks  # kept, so that no other look gets the id of one of them
            self._kept, self._bounds = ordered(rows(looks), self.order), bounds(looks)
        return self._kept

    def _marked(self) -> UpstreamRow | None:
        upstreams = (one for one in self._rows() if isinstance(one, UpstreamRow))
        return next((one for one in upstreams if one.key == self.cursor), None)

    def _move(self, steps: int) -> None:
        keys = [one.key for one in self._rows() if isinstance(one, UpstreamRow)]
        if not keys:
            return
        if self.cursor not in keys:
            self.cursor = keys[0]
            return
        at = keys.index(self.cursor) + steps
        self.cursor = keys[min(max(at, 0), len(keys) - 1)]

    def all(self, width: int) -> RenderableType:
        """Everything once, for a pipe."""
        return Group(*self._head(), table(lines(self._rows(), self._bounds), width))

    def screen(self, console: Console) -> RenderableType:
        """What fits on the screen of this console."""
        width, height = console.width, console.height
        head = list(self._head())
        row = self._marked() if self.looks_into else None
        if row is not None:
            return Group(*head, *self._detail(row, console, height - len(head)))
        shown = self._rows()
        window = self._window(shown, max(1, height - len(head) - _SURROUND))
        is_stale = all(one.trouble for one in self._sources)
        more = len(shown) - len(window)
        body = table(lines(window, self._bounds), width, self.cursor, dim=is_stale)
        below = Text(f"{more:,} more" if more else "", style="dim")
        return Group(*head, body, below, _footer(self.order))

    def _window(self, shown: Sequence[Row], room: int) -> Sequence[Row]:
        """The rows on the screen: the marked one is among them, and the row above it if there is room."""
        marked = self._marked()
        if marked is not None:
            at = shown.index(marked)
            if at < self._first + (room > 1):
                self._first = at - (room > 1)
            elif at >= self._first + room:
                self._first = at - room + 1
        self._first = max(0, min(self._first, len(shown) - room))
        return shown[self._first : self._first + room]

    def _detail(self, row: UpstreamRow, console: Console, height: int) -> Iterator[RenderableType]:
        about = top_detail.detail(row, self._bounds)
        yield about
        used = len(console.render_lines(about, pad=False))
        several = len(self._sources) > 1
        found = [(one.place if several else "", event) for one in self._sources for event in one.events]
        found.sort(key=lambda pair: str(pair[1]["time"]))
        yield Text("")
        yield top_detail.events(found, height - used - _EVENTS_SURROUND)
        yield Text("")
        yield Text("q: quit   esc: back", style="dim")

    def _head(self) -> Iterator[Text]:
        now = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%H:%M:%S")
        count = len(self._sources)
        what = self._sources[0].place if count == 1 else f"{count} instances"
        yield Text.assemble(("balancer top", "bold"), f"   {what}   {now} UTC")
        for one in self._sources:
            if one.trouble:
                place = f"{one.place} " if count > 1 else ""
                stale = f"{place}stale since {one.since()}: " if one.answered else f"{place}not seen so far: "
                yield Text.assemble(
                    (stale, "bold red"), (one.trouble, "red"), no_wrap=True, overflow="ellipsis"
                )


def _footer(order: str) -> Text:
    parts: list[str | tuple[str, str]] = [("q: quit   \u2191\u2193 enter: look into   ", "dim"), "sort: "]
    for name, (letter, _) in ORDERS.items():
        style = "bold reverse" if name == order else "dim"
        at = name.index(letter)
        parts += [(f"{name[:at]}[{letter}]{name[at + 1 :]}", style), " "]
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def run(
    clients: Sequence[AdminClient], console: Console, *, interval: float, order: str, just_once: bool
) -> None:
    """The command. Raises UnreachableError if no instance answers at first, KeyboardInterrupt for Ctrl-C."""
    clock = SystemClock()
    sources = [Source(client, clock) for client in clients]
    for source in sources:
        source.ask()
    if all(source.trouble for source in sources):
        raise UnreachableError("; ".join(source.trouble for source in sources))
    top = Top(sources, clock, order)
    if just_once or not console.is_terminal:
        time.sleep(interval)
        for source in sources:
            source.ask()
        console.print(top.all(console.width))
        return
    is_interrupted = False

    def interrupt(number: int, frame: object) -> None:
        # Not by KeyboardInterrupt: raised in a destructor it would be lost, and the table would go on.
        nonlocal is_interrupted
        top.quits = is_interrupted = True

    signal.signal(signal.SIGINT, interrupt)
    polling = Polling(sources, interval)
    polling.start()
    with top_keys.pressed_keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while not top.quits:
            live.update(top.screen(console), refresh=True)
            for key in keys.wait(TICK):
                top.press(key, page=max(1, console.height - _SURROUND - 1))
                if key == top_keys.ENTER:
                    polling.hurry()
    if is_interrupted:
        raise KeyboardInterrupt
