"""One upstream in `balancer top` (L7): its state, figures, last check, and the last events about it."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from balancer.console.events import COLOURS as EVENT_COLOURS
from balancer.console.sides import QUANTILES, Answer, quantile
from balancer.console.status import COLOURS, note_of, state_of
from balancer.console.top_rates import Figures, UpstreamRow
from balancer.console.top_table import NOTHING, rate

_GAP = "   "


def detail(row: UpstreamRow, bounds: Sequence[float]) -> Table:
    """All that is known of an upstream: of one instance, or their sums and then each."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("upstream", Text.assemble((row.id, "bold"), (f"{_GAP}pool ", "dim"), row.pool))
    several = len(row.views) > 1
    if several:
        grid.add_row("together", _in_words(row.total, bounds))
    for place, view in row.views.items():
        if several:
            grid.add_row()
            grid.add_row("instance", Text(place, style="bold"))
        for label, said in _of_instance(view, row.each[place], bounds):
            grid.add_row(label, said)
    return grid


def _of_instance(view: Answer, figures: Figures, bounds: Sequence[float]) -> Iterator[tuple[str, Text]]:
    yield "state", _state(view)
    if note := note_of(view):
        yield "", Text(note, style="yellow")
    yield "rates", _in_words(figures, bounds)
    limit = f" of {view['inflight_limit']:,}" if view["inflight_limit"] else ""
    counts = (
        f"{view['inflight']:,}{limit}",
        f"idle connections {view['idle_connections']:,}",
        f"requests {view['requests']:,} so far",
    )
    yield "inflight", Text(_GAP.join(counts))
    if view["codes"]:
        yield "responses", Text(_GAP.join(f"{code}: {count:,}" for code, count in view["codes"].items()))
    check = view["last_check"]
    if check is not None:
        said = f"{check['time'][11:19]}  {check['text']}, {check['seconds'] * 1000:.0f} ms"
        yield "last check", Text(said, style="" if check["passed"] else "red")


def _state(view: Answer) -> Text:
    state, weight, effective = state_of(view), view["weight"], view["effective_weight"]
    slow = f" ({effective:.3g} now, in its slow start)" if effective != weight else ""
    parts = [f"at {view['address'] or 'no address'}", f"weight {weight}{slow}"]
    if view["source"]:
        parts.append(f"from {view['source']}")
    return Text.assemble((state, COLOURS[state]), _GAP, _GAP.join(parts))


def _in_words(figures: Figures, bounds: Sequence[float]) -> Text:
    if not figures.known:
        return Text(NOTHING)
    parts = [f"p{share * 100:.0f} {quantile(bounds, figures.buckets, share)}" for share in QUANTILES]
    parts += [f"{code}: {rate(count)}/s" for code, count in sorted(figures.codes.items())]
    errors = (f"{rate(figures.errors)} errors/s", "bold red" if figures.errors else "")
    return Text.assemble(f"{rate(figures.requests)} requests/s{_GAP}", errors, _GAP, _GAP.join(parts))


def events(found: Sequence[tuple[str, Answer]], most: int) -> Table | Text:
    """The last events, each with its instance, \"\" if there is only one; a line for each, `most` of them."""
    if not found or most <= 0:
        return Text("" if found else "no events about it so far", style="dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3 + bool(found[0][0])):
        table.add_column(no_wrap=True)
    for place, event in found[-most:]:
        kind = Text(event["kind"].replace("_", " "), style=EVENT_COLOURS.get(event["kind"], ""))
        where = [Text(place)] if place else []
        table.add_row(Text(event["time"][11:19], style="dim"), *where, kind, Text(event["text"]))
    return table
