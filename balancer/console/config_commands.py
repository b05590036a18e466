"""`balancer config` and `balancer replace` (L7): what operators have changed, and another program. `cli`
registers them.

Each imports what it needs itself.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from balancer.console.asking import client_of, do_everywhere
from balancer.console.options import Admin, Admins, ConfigFile

if TYPE_CHECKING:
    from rich.text import Text

    from balancer.console.client import AdminClient

config_app = typer.Typer(
    help="What operators have changed in a running balancer: show it, write it down, or forget it.",
    no_args_is_help=True,
)


@config_app.command()
def export(context: typer.Context, admin: Admin = None, config: ConfigFile = None) -> None:
    """Print a settings file that reproduces the running balancer, changes by the API included.

    [green]balancer config export > balancer.yaml[/green]

    Changed weights, splits and added upstreams are in it. What settings
    cannot say, such as a drain, is a comment. Secrets are masked: write them
    in.
    """
    print(client_of(context, admin, config).text("/api/config?format=yaml"), end="")


@config_app.command()
def diff(context: typer.Context, admin: Admin = None, config: ConfigFile = None) -> None:
    """Show how a running balancer differs from its settings: what was changed, by whom, and when."""
    from balancer.console.live_changes import shown
    from balancer.console.options import console

    console().print(shown(client_of(context, admin, config)))


@config_app.command()
def forget(context: typer.Context, admin: Admins = None, config: ConfigFile = None) -> None:
    """Make everything as in the settings again: weights, drains, splits; added upstreams go."""
    from balancer.console.live_changes import forgotten

    do_everywhere(context, admin, config, forgotten)


def replace(context: typer.Context, admin: Admins = None, config: ConfigFile = None) -> None:
    """Start the program of a running balancer anew, on the same sockets: another version, for example.

    [green]pip install -U balancer && balancer replace[/green]

    No connection is refused: the old program finishes once the new one
    serves, and goes on if it does not. In a container it refuses: start a
    second one instead (docs/high-availability.md).
    """

    def act(client: "AdminClient") -> "Iterator[Text]":
        from rich.text import Text

        _, answer = client.ask("POST", "/api/replace", {}, "pid", patience=600.0)
        took = f"it took {answer['seconds']:.1f} s"
        yield Text(f"process {answer['pid']} serves now ({took}); the old one drains")

    do_everywhere(context, admin, config, act)
