"""Certificates for people (L7): a table for `balancer status` and one for `balancer check`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from balancer.config.tls_files import TlsFiles

PATH = "/api/certificates"
_SOON = 21  # days; from then on the balancer says that it will expire

Answer: TypeAlias = Mapping[str, Any]


def in_settings(files: TlsFiles, now: datetime) -> Iterator[RenderableType]:
    """Those that the settings name."""
    rows = [
        (label, list(pair.names), pair.issuer, datetime.fromtimestamp(pair.not_after, UTC))
        for label, pair in files.certificates
    ]
    if rows:
        yield _table(rows, now)


def in_use(answer: Answer, now: datetime) -> Iterator[RenderableType]:
    """Those that a running balancer serves, from `GET /api/certificates`; nothing without a TLS listener."""
    found: list[Answer] = answer["certificates"]
    if not found:
        return
    rows = [
        (one["name"], one["names"], one["issuer"], datetime.fromisoformat(one["not_after"])) for one in found
    ]
    yield _table(rows, now)
    for one in found:
        if one["problem"]:
            yield Text.assemble((one["name"], "bold"), f": changed files are not used: {one['problem']}")
    yield Text("")


def _table(rows: Sequence[tuple[str, list[str], str, datetime]], now: datetime) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("certificate", overflow="fold")
    table.add_column("names", overflow="fold")
    table.add_column("issuer", overflow="fold")
    table.add_column("until", no_wrap=True)
    for label, names, issuer, end in rows:
        days = (end - now).days
        style = "bold red" if end <= now else "yellow" if days < _SOON else ""
        left = "expired" if end <= now else f"{days} d"
        table.add_row(label, ", ".join(names), issuer, Text(f"{end:%Y-%m-%d} ({left})", style=style))
    return table
