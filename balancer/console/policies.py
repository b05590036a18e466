"""What `balancer policies` prints (L7): every policy, with its options and its origin."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from balancer.policies import registry


def print_policies(console: Console) -> None:
    """Print a row for each policy; if it cannot be used, the reason."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("policy", no_wrap=True)
    table.add_column("which upstream a request gets", overflow="fold")
    table.add_column("options", overflow="fold")
    table.add_column("from", no_wrap=True)
    for each in registry.listing():
        told = Text(f"cannot be used: {each.error}", style="red") if each.error else Text(each.summary)
        options = ", ".join(map(str, each.options)) or "-"
        table.add_row(Text(each.name), told, Text(options), Text(each.origin))
    console.print(table)
    console.print("BALANCER_POLICY takes one of these names, or module:attribute for your own policy.")
