"""The commands that change a running balancer (L7), or several: `cli` registers them.

Each imports what it needs itself.
"""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.options import Admins, ConfigFile, UpstreamName, console, quiet_interrupt
from balancer.errors import OperatorError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from balancer.console.client import AdminClient


def split(
    context: typer.Context,
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The name of a route that is split.")],
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[POOL=WEIGHT]...", help="New weights of its sides.")
    ] = None,
    admin: Admins = None,
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    hold: Annotated[
        str | None, typer.Option(metavar="TIME", help="Watch the change for this time, such as 10m.")
    ] = None,
    abort_if: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITIONS",
            help="With --hold: what takes the change back; errors>+0.5%,p95>1.3x if unset.",
        ),
    ] = None,
) -> None:
    """Show the sides of a split route beside each other, or change their weights.

    [green]balancer split web stable=50 canary=50[/green]

    [green]balancer split web canary=50 --hold 10m --abort-if 'errors>+0.5%,p95>1.3x'[/green]

    The change reaches all workers at once, and lasts as long as the instance.
    Users stay on their side, but for as many as must move. With --hold the
    sides that grow are compared with the others, and the change is taken back
    at a breach, also if this command ends. It exits with 0 if the change has
    held, with 1 if it was refused or taken back, and with 3 if its end is not
    known: another change has replaced it, or the balancer cannot be reached.

    Counts are since the start, with --watch of the last second. Errors are
    5xx and responses that broke off; p50, p95 and p99 are of the time from a
    request's head to the first byte of the response.
    """
    from balancer.config.durations import parse_duration
    from balancer.console.split import (
        ABORT_IF,
        NOT_WATCHED,
        SplitCommand,
        parse_weights,
        split_everywhere,
    )

    clients = _clients(context, admin, config)
    command = SplitCommand(clients[0], console(), route)
    if hold is not None and not weights:
        raise typer.BadParameter("watches a change; name new weights", param_hint="--hold")
    if abort_if is not None and hold is None:
        raise typer.BadParameter(
            "needs --hold TIME: without it the change is not watched", param_hint="--abort-if"
        )
    if len(clients) > 1 and (watch or not weights):
        raise typer.BadParameter("shows one balancer; name one", param_hint="--admin")
    if not weights:
        if not watch:
            command.show()
    else:
        try:
            seconds = None if hold is None else parse_duration(hold)
        except ValueError as error:
            raise typer.BadParameter(f"{hold} {error}", param_hint="--hold") from None
        wanted, conditions = parse_weights(weights), ABORT_IF if abort_if is None else abort_if
        if len(clients) > 1:
            raise typer.Exit(split_everywhere(clients, console(), route, wanted, seconds, conditions))
        console().print(command.set(wanted, seconds, conditions), soft_wrap=True)
        if hold is not None:
            try:
                with quiet_interrupt():
                    raise typer.Exit(command.follow())
            except OperatorError as error:
                said = f"{error}. How the change of {route} ends is not known here; it may still be watched"
                console(stderr=True).print(f"balancer: {said}", soft_wrap=True, markup=False)
                raise typer.Exit(NOT_WATCHED) from None
    if watch:
        with quiet_interrupt():
            command.watch()


def readonly(
    context: typer.Context,
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The name of a route.")],
    time: Annotated[str, typer.Argument(metavar="TIME", help="For how long, such as 60s; 0 ends it.")],
    admin: Admins = None,
    config: ConfigFile = None,
) -> None:
    """Let a route serve no changes for a while: only GET, HEAD and OPTIONS.

    [green]balancer readonly shop 60s[/green]

    Other methods get 503 with Retry-After. It ends by itself, after an hour at
    most, so that a switch of databases that fails halfway does not leave a
    site closed.
    """
    from balancer.config.durations import parse_duration
    from balancer.console.split import set_read_only

    try:
        seconds = parse_duration(time)
    except ValueError as error:
        raise typer.BadParameter(f"{time} {error}", param_hint="TIME") from None
    _everywhere(context, admin, config, lambda client: set_read_only(client, route, seconds))


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

    _everywhere(context, admin, config, act)


def maintenance(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Take an upstream out completely: no new requests, no active checks.

    Requests in flight may finish, as with [green]balancer drain[/green]. To bring it back:

    [green]balancer activate app1:8000[/green]
    """
    from balancer.console.changes import Changes

    _everywhere(context, admin, config, lambda client: Changes(client, upstream).want("maintenance"))


def activate(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Send an upstream requests again after a drain or maintenance.

    It gets them at once, unless its active checks fail. After maintenance it
    gets its load gradually if SLOW_START is set.
    """
    from balancer.console.changes import Changes

    _everywhere(context, admin, config, lambda client: Changes(client, upstream).want("active"))


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
    """Add an upstream to a pool of a running balancer, until it is removed or the balancer ends.

    [green]balancer add 10.0.0.9:8000[/green]

    [green]balancer add 'web/10.0.0.9:8000?weight=2' --admin dns://balancer:9901[/green]

    If it is there already, nothing changes.
    """
    from balancer.console.changes import Changes

    _everywhere(context, admin, config, lambda client: Changes(client, upstream).add())


def remove(
    context: typer.Context, upstream: UpstreamName, admin: Admins = None, config: ConfigFile = None
) -> None:
    """Remove an upstream that was added; its requests in flight finish.

    Those of the settings, or found by discovery, cannot be removed: use
    [green]balancer maintenance[/green]. If it is not there, that is as good.
    """
    from balancer.console.changes import Changes

    _everywhere(context, admin, config, lambda client: Changes(client, upstream).remove())


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

    _everywhere(context, admin, config, lambda client: Changes(client, upstream).weigh(weight))


def reload(
    context: typer.Context,
    admin: Admins = None,
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change, and how.")] = False,
) -> None:
    """Let a running balancer read its settings again, and show what that changes.

    Upstreams, weights, checks, routes' targets and certificates change live;
    for the rest new workers take over one by one, and the old ones drain.
    Settings with a mistake change nothing: the mistake is shown, and the exit
    code is 1. Settings from the environment of the balancer stay as they are.
    """
    from balancer.console.reload import reload as ask

    _everywhere(context, admin, config, lambda client: ask(client, dry_run=dry_run))


def diff(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML settings file on this machine.")],
    admin: Admins = None,
    config: ConfigFile = None,
) -> None:
    """Show what a running balancer would change if this were its settings file. Nothing changes.

    [green]balancer diff new.yaml[/green]

    The exit code is 1 if the balancer would refuse it.
    """
    from balancer.console.reload import file_text
    from balancer.console.reload import reload as ask

    settings = file_text(file)
    _everywhere(context, admin, config, lambda client: ask(client, dry_run=True, settings=settings))


def _clients(context: typer.Context, admin: list[str] | None, config: str | None) -> "list[AdminClient]":
    from balancer.console.client import AdminClient
    from balancer.console.places import find_admins, find_token, operator_name

    file = config or context.obj
    token, operator = find_token(os.environ, file), operator_name(os.environ)
    return [AdminClient(place, token, operator) for place in find_admins(admin, os.environ, file)]


def _everywhere(
    context: typer.Context,
    admin: list[str] | None,
    config: str | None,
    act: "Callable[[AdminClient], Iterator[RenderableType]]",
) -> None:
    """Do it at all instances that the options name; Ctrl-C only ends the command."""
    from balancer.console.everywhere import everywhere

    with quiet_interrupt():
        everywhere(_clients(context, admin, config), console(), act)


COMMANDS = (add, remove, weight, drain, maintenance, activate, split, readonly, reload, diff)
