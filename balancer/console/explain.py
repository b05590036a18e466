"""`balancer explain` (L7): which way a request took, and why, as a story in order of time."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from balancer.config.durations import parse_duration
from balancer.console.client import AdminClient
from balancer.errors import OperatorError

FILTERS = ("path", "host", "client", "method", "route")
_LISTED = 50
_POLL = 0.5  # seconds
_LAST_WORDS = 1.0  # seconds in which explanations of the last requests still come


def show(clients: Sequence[AdminClient], console: Console, request_id: str, *, as_json: bool) -> None:
    """Print what is kept of a request. Raises OperatorError if no instance knows it; one that does not answer
    is named then."""
    target = f"/api/explain/{quote(request_id, safe='')}"
    found: list[tuple[AdminClient, Mapping[str, Any]]] = []
    problems: dict[str, None] = {}
    for client in clients:
        try:
            status, answer = client.ask("GET", target, None, "explanations", results=("unknown",))
        except OperatorError as error:
            problems[str(error)] = None
            continue
        if status == HTTPStatus.OK:
            found += [(client, one) for one in answer["explanations"]]
        else:
            problems[answer["error"]] = None
    if not found:
        where = "" if len(clients) == 1 else f" (asked: {', '.join(str(one.place) for one in clients)})"
        raise OperatorError(f"{'; '.join(problems)}{where}")
    if as_json:
        _print_json({"request_id": request_id, "explanations": [one for _, one in found]})
        return
    for client, one in found:
        _print(one, console, f"{client.place}" if len(clients) > 1 else "")


def list_all(clients: Sequence[AdminClient], console: Console, *, as_json: bool) -> None:
    """Print the requests that are explained, newest first."""
    answers = [(client, client.get("/api/explain", "requests")) for client in clients]
    if as_json:
        _print_json({f"{client.place}": answer for client, answer in answers})
        return
    for client, answer in answers:
        if len(clients) > 1:
            console.print(Text(f"{client.place}", style="bold"))
        requests = answer["requests"]
        if not requests:
            console.print("no request is explained yet: none has failed, and nothing was asked for")
            continue
        table = _table("began", "request id", "why", "request", "answer", "upstream", "attempts", "took")
        for one in requests[:_LISTED]:
            table.add_row(*_summary(one))
        console.print(table)
        if len(requests) > _LISTED:
            console.print(f"and {len(requests) - _LISTED} before these: --json has all")


def watch(
    clients: Sequence[AdminClient],
    console: Console,
    wish: str,
    duration: str,
    *,
    as_json: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have requests explained from now on, and print them as they come, until the time is over."""
    order: dict[str, Any] = {**parsed(wish), "seconds": seconds_of(duration)}
    for client in clients:
        client.ask("POST", "/api/explain", order, "now")
    seen = {client: _known(client) for client in clients}
    if not as_json:
        console.print(
            Text(f"explains {wish or 'every request'} for {duration}; Ctrl-C stops looking", style="dim")
        )
    for _ in range(round((order["seconds"] + _LAST_WORDS) / _POLL)):
        sleep(_POLL)
        for client in clients:
            for one in reversed(client.get("/api/explain", "requests")["requests"]):
                key = one["request_id"], one["began"]
                if key in seen[client]:
                    continue
                seen[client].add(key)
                if one["why"] == "watch":
                    _print_line(one, console, as_json=as_json)


def parsed(wish: str) -> dict[str, str]:
    """`path=/api client=192.0.2.7` as fields. Raises OperatorError."""
    fields: dict[str, str] = {}
    for part in wish.split():
        name, equals, value = part.partition("=")
        if name not in FILTERS or not equals or not value:
            example = "path=/api client=192.0.2.7"
            raise OperatorError(
                f"--watch: {part} is not known; write {', '.join(FILTERS)}, as in '{example}'"
            )
        if name in fields:
            raise OperatorError(f"--watch: {name} is named twice")
        fields[name] = value
    return fields


def seconds_of(duration: str) -> float:
    """Raises OperatorError."""
    try:
        return float(parse_duration(duration))
    except ValueError as error:
        raise OperatorError(f"--for: {duration} {error}") from None


def _known(client: AdminClient) -> set[tuple[str, str]]:
    requests = client.get("/api/explain", "requests")["requests"]
    return {(one["request_id"], one["began"]) for one in requests}


def _print_line(one: Mapping[str, Any], console: Console, *, as_json: bool) -> None:
    if as_json:
        _print_json(one)
        return
    began, request_id, _, *rest = _summary(one)
    console.print(Text("  ".join([began, request_id, *rest])), soft_wrap=True)


def _summary(one: Mapping[str, Any]) -> list[str]:
    answer = f"{one['status']}" + (f" {one['reason']}" if one["reason"] else "")
    where = one["upstream"] or one["pool"] or one["route"]
    request = f"{one['method']} {one['target']}"
    return [
        one["began"],
        one["request_id"],
        one["why"],
        request,
        answer,
        where,
        f"{one['attempts']}",
        f"{one['duration']:.1f} ms",
    ]


def _print_json(data: object) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    sys.stdout.flush()


# --- the story


def _print(one: Mapping[str, Any], console: Console, place: str) -> None:
    title = Text.assemble(
        (f"{one['method']} {one['target']}", "bold"), f" of {one['client']}, host {one['host']}"
    )
    console.print(title, soft_wrap=True)
    result = f"{one['status']} after {one['duration']:.1f} ms"
    where = f"; at {place}" if place else ""
    _row(console, "answer", f"{result}, {one['response_bytes']} bytes{where}")
    trace = f", trace {one['trace_id']}" if one["trace_id"] else ""
    request = f"{one['request_id']}, began {one['began']}, kept because of: {one['why']}{trace}"
    _row(console, "request", request)
    _print_route(one["route"], console)
    if one["split"]:
        split = one["split"]
        weights = ", ".join(f"{pool} {weight}" for pool, weight in split["weights"].items())
        _row(console, "side", _joined(f"{split['pool']} of {weights}, by {split['key']}", split["note"]))
    if one["pin"]:
        _row(console, "pin", f"{one['pin']['result']}: {one['pin']['text']}")
    console.print()
    for step in one["story"]:
        style = "bold red" if step["kind"] == "end" and one["cut"] else ""
        console.print(
            Text.assemble((f"{step['at']:>10.1f} ms  ", "dim"), (step["text"], style)), soft_wrap=True
        )
    for number, choice in enumerate(one["choices"], 1):
        if choice["candidates"] or choice["passed_over"]:
            console.print()
            _print_choice(number, choice, console)
    if one["cut"]:
        cut = one["cut"]
        console.print()
        _row(console, "cut by", _joined(f"{cut['reason']}, {cut['detail']}", f"to act: {cut['source']}"))
        limit = f"limit BALANCER_{cut['limit']}" if cut["limit"] else ""
        phase = f"while {cut['phase']}" if cut["phase"] else ""
        if phase or limit:
            _row(console, "", ", ".join(filter(None, (phase, limit))))
    for note in one["notes"]:
        console.print()
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print()


def _print_route(route: Mapping[str, Any], console: Console) -> None:
    where = f", number {route['number']}" if route["number"] else ""
    _row(
        console, "route", _joined(f"{route['name']}{where}: {', '.join(route['conditions'])}", route["note"])
    )
    for earlier in route["earlier"]:
        _row(console, "", f"not {earlier['name']}: {', '.join(earlier['unmet']) or 'it would match now'}")
    if route["left_out"]:
        _row(console, "", f"nor {route['left_out']} others before it")


def _print_choice(number: int, choice: Mapping[str, Any], console: Console) -> None:
    chosen = choice["upstream"] or "none"
    by = f" by {choice['policy'] if choice['by'] == 'policy' else choice['by']}" if choice["by"] else ""
    more = ["panic: none is eligible, so ejected ones are used"] if choice["panic"] else []
    more += [f"{choice['waiting']} requests waited in the queue"] if choice["waiting"] else []
    more += [choice["note"]] if choice["note"] else []
    title = "; ".join([f"choice {number} at {choice['at']:.1f} ms: {chosen}{by}", *more])
    console.print(Text(title, style="bold"), soft_wrap=True)
    table = _table("upstream", "weight", "inflight", "elsewhere", "limit", "")
    for one in choice["candidates"]:
        is_chosen = one["upstream"] == choice["upstream"]
        weight = f"{one['effective_weight']:g}"
        if one["effective_weight"] != one["weight"]:
            weight = f"{weight}/{one['weight']}"
        table.add_row(
            one["upstream"],
            weight,
            f"{one['inflight']}",
            "-" if one["elsewhere"] is None else f"{one['elsewhere']}",
            f"{one['limit'] or '-'}",
            "chosen" if is_chosen else one["state"],
            style="bold" if is_chosen else None,
        )
    for one in choice["passed_over"]:
        table.add_row(one["upstream"], "-", f"{one['inflight']}", "-", "-", one["why"], style="dim")
    console.print(table)
    if choice["left_out"]:
        console.print(f"and {choice['left_out']} others")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _joined(text: str, note: str) -> str:
    return f"{text} ({note})" if note else text


def _row(console: Console, title: str, text: str) -> None:
    console.print(Text.assemble((f"{title:<10}", "bold"), text), soft_wrap=True)
