"""What `balancer check` prints (L7): the effective value of every setting, and what set it."""

from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from balancer.config.effective import effective
from balancer.config.loader import Loaded
from balancer.console import certificates


def print_settings(loaded: Loaded, console: Console) -> None:
    """Print a row for each setting; defaults are dim."""
    settings = loaded.settings
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("set by", no_wrap=True)
    for setting in effective(loaded):
        style = "dim" if setting.origin == "default" else ""
        table.add_row(setting.variable, Text(setting.value or "-"), setting.origin, style=style)
    console.print(table)
    for part in certificates.in_settings(loaded.tls, settings.tls.acme, datetime.now(UTC)):
        console.print(part)
    if not settings.via:
        console.print(
            "BALANCER_VIA is off: an upstream that points back to this balancer is detected only "
            "if its address belongs to this machine, at start and at name look-ups."
        )
    console.print("Not checked: whether ports are free, names resolve, and app replicas answer.")
    count = len(settings.upstreams)
    secure = f", over TLS to {settings.tls.listen}" if settings.tls.is_on else ""
    console.print(
        f"The settings are valid: {count} upstream{'s' * (count != 1)}, policy {settings.policy}, "
        f"clients connect to {settings.listen}{secure}."
    )
