"""The commands that change upstreams of running balancers (L7): `cli` registers them.

Each imports what it needs itself.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.asking import do_everywhere
from balancer.console.options import Admins, ConfigFile, UpstreamName

if TYPE_CHECKING:
    from rich.text import Text

    from balancer.console.client import AdminClient


def drain(
    context: typer.Context,
    upstream: UpstreamName,
    admin: Admins = None,
    config: ConfigFile = None,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Wait until it has nothing in flight; exit 1 if that takes longer.",
        ),
    ] = None,
) -> None:
    """Send an upstream no new requests; those in flight finish.

    Requests and WebSocket tunnels in flight run to their end, and active
    checks continue. Clients that a sticky session pins to the upstream keep
    using it: use maintenance to move them. To replace a replica without
    losing a request:

    [green]balancer drain app1:8000 --wait 30 && docker compose restart app1[/green]
    [green]balancer activate app1:8000[/green]

    If SLOW_START is set, use maintenance before the restart: the upstream then
    gets its load gradually.

    If the balancer has an ADMIN_TOKEN, BALANCER_ADMIN_TOKEN or
    BALANCER_ADMIN_TOKEN_FILE must be set here as well.

    With several balancers all are changed, and those that failed are named:

    [green]balancer drain app1:8000 --admin dns://balancer:9901[/green]
    """
    from balancer.console.changes import Changes

    def act(client: "AdminClient") -> "Iterator[Text]":
        changes = Changes(client, upstream)
        yield from changes.want("draining")
        if wait is not None:
            yield from changes.wait(wait)

    do_everywhere(context, admin, config, act)


def maintenance(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Take an upstream out completely: no new requests, no active checks.

    Requests in flight may finish, as with [green]balancer drain[/green]. To bring it back:

    [green]balancer activate app1:8000[/green]
    """
    from balancer.console.changes import Changes

    do_everywhere(context, admin, config, lambda client: Changes(client, upstream).want("maintenance"))


def activate(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Send an upstream requests again after a drain or maintenance.

    It gets them at once, unless its active checks fail. After maintenance it
    gets its load gradually if SLOW_START is set.
    """
    from balancer.console.changes import Changes

    do_everywhere(context, admin, config, lambda client: Changes(client, upstream).want("active"))


def add(
    context: typer.Context,
    upstream: Annotated[
        str,
        typer.Argument(
            metavar="UPSTREAM",
            help="IP address and port, written like an entry of UPSTREAMS; POOL/UPSTREAM for another pool.",
        ),
    ],
    admin: Admins = None,
    config: ConfigFile = None,
) -> None:
    """Add an upstream to a pool of a running balancer, until it is removed.

    [green]balancer add 10.0.0.9:8000[/green]

    [green]balancer add 'web/10.0.0.9:8000?weight=2' --admin dns://balancer:9901[/green]

    If it is there already, nothing changes.
    """
    from balancer.console.changes import Changes

    do_everywhere(context, admin, config, lambda client: Changes(client, upstream).add())


def remove(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Remove an upstream that was added; its requests in flight finish.

    Those of the settings, or found by discovery, cannot be removed: use
    [green]balancer maintenance[/green]. If it is not there, that is as good.
    """
    from balancer.console.changes import Changes

    do_everywhere(context, admin, config, lambda client: Changes(client, upstream).remove())


def weight(
    context: typer.Context,
    upstream: UpstreamName,
    weight: Annotated[int, typer.Argument(metavar="WEIGHT", min=1, max=1000, help="1 to 1000.")],
    admin: Admins = None,
    config: ConfigFile = None,
) -> None:
    """Give an upstream another weight: its share of the requests beside the others of its pool.

    [green]balancer weight app1:8000 3[/green]
    """
    from balancer.console.changes import Changes

    do_everywhere(context, admin, config, lambda client: Changes(client, upstream).weigh(weight))


COMMANDS = (add, remove, weight, drain, maintenance, activate)
