"""Options that several commands have, and the console they print to (L7)."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

# If the width is unknown, as in a pipe or a container's log, long lines are better than folded ones.
_WIDTH_OF_A_PIPE = 160

Admin = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Admin listener of the running balancer. If unset, ADMIN_LISTEN of the settings here.",
        show_default=False,
    ),
]
Admins = Annotated[
    list[str] | None,
    typer.Option(
        "--admin",
        metavar="HOST:PORT",
        help="Admin listener of the running balancer; several with commas, or repeated, or "
        "dns://NAME:9901 for all addresses of a name. If unset, ADMIN_LISTEN of the settings here.",
        show_default=False,
    ),
]
UpstreamName = Annotated[
    str,
    typer.Argument(
        metavar="UPSTREAM",
        help="Name as balancer status shows it; POOL/UPSTREAM in pools other than default.",
    ),
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="A YAML settings file, instead of BALANCER_CONFIG."),
]


def console(stderr: bool = False) -> Console:
    """Standard output, or standard error."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDTH_OF_A_PIPE
    return made


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Exit without a traceback on Ctrl-C: it is the normal way to end a command that runs for ever."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
