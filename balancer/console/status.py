"""`balancer status` (L7): one table per pool, from `GET /api/pools`, one of the routes, and one
of the certificates."""

import json
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from balancer.console import certificates
from balancer.console import routes as of_routes
from balancer.console.client import AdminClient, UnreachableError
from balancer.outliers.ejection_term import in_a_row

PATH = "/api/pools"
REFRESH = 1.0  # seconds
COLOURS = {
    "active": "green",
    "probation": "yellow",
    "unchecked": "cyan",
    "backup": "cyan",
    "draining": "yellow",
    "maintenance": "yellow",
    "ejected": "bold red",
    "unresolved": "red",
}
# From the least to the most important to see.
BADNESS = (
    "active",
    "backup",
    "unchecked",
    "draining",
    "maintenance",
    "probation",
    "unresolved",
    "ejected",
)
_NOTHING = "-"
_CORRECT = "correct it in BALANCER_UPSTREAMS, or start what it names"
HEADINGS = ("upstream", "state", "weight", "inflight", "requests", "5xx", "share", "last check")

Answer: TypeAlias = Mapping[str, Any]


def show(client: AdminClient, console: Console, *, as_json: bool) -> None:
    """Print the state once."""
    answer = _ask(client)
    if as_json:
        json.dump(answer, sys.stdout, indent=2)
        print()
    else:
        console.print(status(answer, console.width))


def watch(client: AdminClient, console: Console) -> None:
    """Show the state every REFRESH seconds, until interrupted; keep trying if the balancer is away."""
    answer = _ask(client)
    if not console.is_terminal:
        while True:
            console.print(status(answer, console.width))
            answer = _next(client, answer)[0]
    with Live(console=console, auto_refresh=False) as live:
        trouble = ""
        while True:
            shown = fitting(answer, console, console.height - bool(trouble))
            live.update(Group(shown, Text(trouble, style="bold red")) if trouble else shown, refresh=True)
            answer, trouble = _next(client, answer)


def _ask(client: AdminClient) -> Answer:
    """The fields of all answers."""
    return {
        **client.get(PATH, "pools"),
        **client.get(of_routes.PATH, "routes"),
        **client.get(certificates.PATH, "certificates"),
    }


def _next(client: AdminClient, before: Answer) -> tuple[Answer, str]:
    time.sleep(REFRESH)
    try:
        return _ask(client), ""
    except UnreachableError as error:
        return before, f"{error} The figures above are out of date."


def status(answer: Answer, width: int, most: int | None = None) -> RenderableType:
    """All pools, routes and certificates, for a console of that width. `most`: upstreams shown of each pool
    at most, and rows of routes, the worst."""
    pools = (part for pool in answer["pools"] for part in _pool(pool, width, most))
    shown = certificates.in_use(answer, datetime.now(UTC))
    return Group(*pools, *of_routes.routes(answer, width, most), *shown)


def fitting(answer: Answer, console: Console, height: int) -> RenderableType:
    """All pools and routes in at most `height` lines, if possible."""

    def fits(most: int | None) -> bool:
        return len(console.render_lines(status(answer, console.width, most), pad=False)) <= height

    longest = max((len(pool["upstreams"]) for pool in answer["pools"]), default=0)
    if longest <= height and fits(None):  # else there is no need to try
        return status(answer, console.width)
    most = bisect_left(range(1, height), True, key=lambda most: not fits(most))
    return status(answer, console.width, max(1, most))


def _pool(pool: Answer, width: int, most: int | None) -> Iterator[RenderableType]:
    upstreams = pool["upstreams"]
    eligible, count = pool["eligible"], len(upstreams)
    total = sum(each["requests"] for each in upstreams)
    if most is not None and count > most:
        upstreams = sorted(upstreams, key=_badness, reverse=True)[:most]
    style = "green" if eligible == count else "yellow" if eligible else "bold red"
    overload, refused = pool["overload"], sum(pool["queue_rejected"].values())
    yield Text.assemble(
        ("pool ", "dim"),
        (pool["name"], "bold"),
        ("   policy ", "dim"),
        pool["policy"],
        "   ",
        (f"{eligible} of {count} eligible" if count else "no upstreams", style),
        (f"   {pool['queue_length']:,} waiting" if pool["queue_length"] else "", "yellow"),
        (f"   {refused:,} refused so far" if refused else "", "dim"),
        (_why_none(pool) if count and not eligible else "", "bold red"),
    )
    if overload is not None:
        served, lost = overload["served_per_second"], overload["refused_per_second"]
        since, left = overload["since"][11:19], round(overload["left_per_second"])
        leaving = f", {left:,}/s abandoned by clients" if left else ""
        yield Text(
            f"overloaded since {since} UTC: {served:,.0f}/s served, {lost:,.0f}/s refused{leaving}",
            style="bold red",
        )
    for source, why in pool["problems"].items():
        yield Text.assemble(
            (source, "bold"),
            f": does not resolve: {why}; {_CORRECT}",
        )
    if not count:
        yield Text("")
        return
    yield _table(upstreams, total, width)
    if len(upstreams) < count:
        yield Text(f"... and {count - len(upstreams):,} more (use --json or a taller terminal)", style="dim")
    notes = [(each["id"], note) for each in upstreams if (note := note_of(each))]
    if notes:
        yield Text("")
    for name, note in notes:
        yield Text.assemble((name, "bold"), f": {note}")
    yield Text("")


def _why_none(pool: Answer) -> str:
    """What happens to requests while no upstream is eligible."""
    if pool["panic"]:
        return "   PANIC: no upstream is eligible, so ejected ones are used"
    if any(_waits_for_check(each) and each["address"] for each in pool["upstreams"]):
        return "   no upstream is eligible, so unchecked ones are used"
    return "   OUT: no upstream may be used, so requests get 503"


def _waits_for_check(upstream: Answer) -> bool:
    """Whether it will serve as soon as it has passed its first check."""
    return bool(upstream["unchecked"] and upstream["admin_state"] == "active" and not upstream["causes"])


def _badness(upstream: Answer) -> tuple[int, bool, int, int]:
    """Its importance for an operator: by its state, a failed check, errors, and requests in flight."""
    check = upstream["last_check"]
    failed = check is not None and not check["passed"]
    return BADNESS.index(state_of(upstream)), failed, _errors(upstream), upstream["inflight"]


def _errors(upstream: Answer) -> int:
    return sum(count for code, count in upstream["codes"].items() if code.startswith("5"))


def _table(upstreams: Sequence[Answer], total: int, width: int) -> Table:
    rows = [_cells(each, total) for each in upstreams]
    natural = sum(max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True))
    gap = 2 if natural + 2 * (len(HEADINGS) - 1) <= width else 1
    # The box puts one space between columns.
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0), header_style="bold"
    )
    table.add_column(HEADINGS[0], overflow="fold")
    table.add_column(HEADINGS[1], no_wrap=True)
    for heading in HEADINGS[2:-1]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(HEADINGS[-1], no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _cells(upstream: Answer, total: int) -> list[Text]:
    state, check, requests = state_of(upstream), upstream["last_check"], upstream["requests"]
    errors = _errors(upstream)
    weight, effective = upstream["weight"], upstream["effective_weight"]
    return [
        Text(f"https://{upstream['id']}" if upstream["server_name"] else upstream["id"]),
        Text(state, style=COLOURS[state]),
        Text(str(weight) if weight == effective else f"{effective:.3g}/{weight}"),
        _inflight(upstream),
        Text(f"{requests:,}"),
        Text(f"{errors:,}", style="red" if errors else ""),
        Text(f"{requests / total:.0%}" if total else _NOTHING),
        Text(_NOTHING) if check is None else _check(check),
    ]


def _inflight(upstream: Answer) -> Text:
    inflight, limit = upstream["inflight"], upstream["inflight_limit"]
    if not limit:
        return Text(f"{inflight:,}")
    return Text(f"{inflight:,}/{limit:,}", style="yellow" if inflight >= limit else "")


def state_of(upstream: Answer) -> str:
    """One word for the state: the strongest reason why it gets no requests, or fewer."""
    if upstream["admin_state"] != "active":
        return str(upstream["admin_state"])
    if upstream["causes"]:
        return "ejected"
    if not upstream["address"]:
        return "unresolved"
    if upstream["on_probation"]:
        return "probation"
    if upstream["unchecked"]:
        return "unchecked"
    return "backup" if upstream["backup"] else "active"


def _check(check: Answer) -> Text:
    what = str(check["status"] or check["result"].replace("_", " "))
    return Text(f"{what}, {_duration(check['seconds'])}", style="" if check["passed"] else "red")


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _sentence(outlier: Answer, on_probation: bool) -> str:
    times = in_a_row(outlier["in_a_row"])
    if on_probation:
        return f"gets one request at a time until one succeeds{times}"
    until = outlier["until"][11:19]
    return f"ejected by outlier detection until {until} UTC{times}; balancer events says why"


def note_of(upstream: Answer) -> str:
    """What to know about an upstream with a problem; "" if it has none."""
    notes = []
    others = [cause.replace("_", " ") for cause in upstream["causes"] if cause != "outlier"]
    if others:
        notes.append(f"ejected by {', '.join(others)}")
    if upstream["outlier"] is not None:
        notes.append(_sentence(upstream["outlier"], upstream["on_probation"]))
    if upstream["announced"]:
        notes.append("draining, announced by its active check")
    if not upstream["address"]:
        notes.append(
            "its name does not resolve, or points to this balancer (see the log), so it gets no "
            f"requests; {_CORRECT}"
        )
    check = upstream["last_check"]
    if upstream["address"] and not upstream["eligible"] and _waits_for_check(upstream):
        notes.append("not checked yet: it serves once it has passed a check")
    if check is not None and check["hint"]:
        notes.append(f"last check: {check['hint']}")
    failures = upstream["connect_failures"]
    if failures and (upstream["causes"] or not upstream["requests"]):
        counts = ", ".join(f"{count:,} {reason}" for reason, count in failures.items())
        notes.append(f"failed connections so far: {counts}")
    return "; ".join(notes)
