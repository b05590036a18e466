"""The commands that change routes and settings of running balancers (L7): `cli` registers them.

Each imports what it needs itself.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.asking import clients_of, do_everywhere
from balancer.console.options import Admins, ConfigFile, console, quiet_interrupt
from balancer.errors import OperatorError

if TYPE_CHECKING:
    pass


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
            help="With --hold: what takes the change back, such as slo; errors>+0.5%,p95>1.3x if unset.",
        ),
    ] = None,
) -> None:
    """Show the sides of a split route beside each other, or change their weights.

    [green]balancer split web stable=50 canary=50[/green]

    [green]balancer split web canary=50 --hold 10m --abort-if 'errors>+0.5%,p95>1.3x'[/green]

    [green]balancer split web canary=50 --hold 10m --abort-if slo[/green]

    The change reaches all workers at once. A restart forgets it, unless
    STATE__FILE is set.
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

    clients = clients_of(context, admin, config)
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
    do_everywhere(context, admin, config, lambda client: set_read_only(client, route, seconds))


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

    do_everywhere(context, admin, config, lambda client: ask(client, dry_run=dry_run))


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
    do_everywhere(context, admin, config, lambda client: ask(client, dry_run=True, settings=settings))


COMMANDS = (split, readonly, reload, diff)
