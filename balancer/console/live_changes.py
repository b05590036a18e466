"""`balancer config diff` and `forget` (L7): how a running balancer differs from its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from balancer.console.client import AdminClient
from balancer.upstreams.state import in_words


def shown(client: AdminClient) -> RenderableType:
    """All changes, one in a row."""
    changes = client.get("/api/config", "live_changes")["live_changes"]
    if not changes:
        return Text("everything is as in the settings")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("what", "is", "by", "at"):
        table.add_column(heading, overflow="fold")
    for one in changes:
        table.add_row(*map(Text, (_what(one), _is(one), one["by"], one["at"])))
    return table


def forgotten(client: AdminClient) -> Iterator[Text]:
    """Forget them, and say how many there were."""
    _, answer = client.ask("DELETE", "/api/live_changes", None, "forgotten")
    count = answer["forgotten"]
    yield Text(f"{count} change{'' if count == 1 else 's'} forgotten: the settings are in force")


def _what(change: Mapping[str, Any]) -> str:
    return f"route {change['route']}" if "route" in change else f"{change['pool']}/{change['upstream']}"


def _is(change: Mapping[str, Any]) -> str:
    if "route" in change:
        return "split " + ", ".join(f"{pool} {weight}" for pool, weight in change["weights"].items())
    words = ["added"] if change["added"] else []
    if change["admin_state"] is not None:
        words.append(in_words(change["admin_state"]))
    if change["weight"] is not None:
        words.append(f"weight {change['weight']}")
    return ", ".join(words)
