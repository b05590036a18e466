"""Certificates for people (L7): a table for `balancer status` and one for `balancer check`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from balancer.config.acme import AcmeSettings
from balancer.config.tls_files import TlsFiles

PATH = "/api/certificates"
_SOON = 21  # days; from then on the balancer says that it will expire

Answer: TypeAlias = Mapping[str, Any]


def in_settings(files: TlsFiles, acme: AcmeSettings, now: datetime) -> Iterator[RenderableType]:
    """Those that the settings name, and those that will be ordered."""
    rows = [
        _Row(label, list(pair.names), pair.issuer, datetime.fromtimestamp(pair.not_after, UTC))
        for label, pair in files.certificates
        if label not in files.awaited
    ]
    if rows:
        yield _table(rows, now)
    if files.domains:
        ordered = ", ".join(files.awaited) or "none, as all are there"
        yield (
            f"Ordered and renewed by {acme.directory_url}: {', '.join(files.domains)}. "
            f"Ordered at the start: {ordered}. The authority was not asked."
        )


def in_use(answer: Answer, now: datetime) -> Iterator[RenderableType]:
    """Those that a running balancer serves, from `GET /api/certificates`; nothing without a TLS listener."""
    found: list[Answer] = answer["certificates"]
    if not found:
        return
    yield _table([_row(one, now) for one in found], now)
    for one in found:
        if one["problem"]:
            yield Text.assemble((one["name"], "bold"), f": changed files are not used: {one['problem']}")
        if (acme := one["acme"]) is not None and acme["error"]:
            yield Text.assemble((one["name"], "bold"), f": no new certificate: {acme['error']}")
    yield Text("")


def _row(one: Answer, now: datetime) -> "_Row":
    end, acme = datetime.fromisoformat(one["not_after"]), one["acme"]
    if acme is None:
        return _Row(_label(one), one["names"], one["issuer"], end)
    when = datetime.fromisoformat(acme["next_order"])
    if acme["state"] == "ordering" or when <= now:
        order = "now"
    else:
        order = f"{when:%Y-%m-%d}" if when - now > timedelta(days=1) else f"{when:%H:%M:%S} UTC"
    if acme["failures"]:
        order += f", after {acme['failures']} failure{'s' * (acme['failures'] > 1)}"
    return _Row(one["name"], one["names"], one["issuer"], end, order, bool(acme["failures"]))


def _label(one: Answer) -> str:
    """What it is called, and whom it is shown to, if not to clients."""
    pools = one["pools"]
    return f"{one['name']} (to upstreams of {', '.join(pools)})" if pools else str(one["name"])


class _Row(NamedTuple):
    """A certificate; `order` is when it is ordered again, "" if it is not."""

    label: str
    names: list[str]
    issuer: str
    end: datetime
    order: str = ""
    failed: bool = False


def _table(rows: Sequence[_Row], now: datetime) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("certificate", overflow="fold")
    table.add_column("names", overflow="fold")
    table.add_column("issuer", overflow="fold")
    table.add_column("until", no_wrap=True)
    with_orders = any(row.order for row in rows)
    if with_orders:
        table.add_column("next order")
    for row in rows:
        days = (row.end - now).days
        style = "bold red" if row.end <= now else "yellow" if days < _SOON and not row.order else ""
        left = "expired" if row.end <= now else f"{days} d"
        until = Text(f"{row.end:%Y-%m-%d} ({left})", style=style)
        order = [Text(row.order or "-", style="bold red" if row.failed else "")] if with_orders else []
        table.add_row(row.label, ", ".join(row.names), row.issuer, until, *order)
    return table
