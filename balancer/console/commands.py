"""The commands that look at a running balancer (L7): status, top, events. `cli` registers them.

Each imports what it needs itself.
"""

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.options import Admin, ConfigFile, console, quiet_interrupt

if TYPE_CHECKING:
    from balancer.console.client import AdminClient


def status(
    context: typer.Context,
    admin: Admin = None,
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the JSON of GET /api/pools and /api/routes.")
    ] = False,
) -> None:
    """Show the upstreams of a running balancer: states, requests, last checks; and its routes.

    The command asks the admin listener in the settings here, so that it needs
    no options inside the container, or the one that --admin names:

    [green]docker compose exec balancer balancer status[/green]

    [green]balancer status --admin 10.0.0.5:9901 --watch[/green]

    An unhealthy upstream has a line below the table with the reason and the
    remedy. Counts are since the start. inflight 3/8: 3 in flight, of at most
    8. weight 0.5/2: in a slow start to 2. An overloaded pool gets more load
    than it can serve: add replicas; docs/overload.md says what clients get
    in the meantime.

    A site with several routes, or a split, has a row for each of their pools:
    requests, errors (5xx, and responses that broke off), retries, and p50,
    p95 and p99 of the time to the first byte of the response.
    """
    from balancer.console import status as shown

    client = _client(context, admin, config)
    if watch and as_json:
        raise typer.BadParameter("prints once; leave out --watch", param_hint="--json")
    if watch:
        with quiet_interrupt():
            shown.watch(client, console())
    shown.show(client, console(), as_json=as_json)


def events(
    context: typer.Context,
    admin: Admin = None,
    config: ConfigFile = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Print the changes in a running balancer: upstreams ejected, readmitted, added, and why.

    [green]balancer events --follow[/green]

    The balancer keeps the last 10,000 changes since its start. --follow
    continues after a restart of the balancer. Only events go to stdout.
    """
    from balancer.console.events import Events

    shown = Events(_client(context, admin, config), console(), console(stderr=True), as_json=as_json)
    # Not with KeyboardInterrupt: if it is raised in a destructor it is lost, and following would go on. Each
    # line has been flushed, so no clean-up is needed.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    shown.show()
    if follow:
        shown.follow()


def _client(context: typer.Context, admin: str | None, config: str | None) -> "AdminClient":
    from balancer.console.client import AdminClient
    from balancer.console.places import find_admin

    return AdminClient(find_admin(admin, os.environ, config or context.obj))


COMMANDS = (status, events)
