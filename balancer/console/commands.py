"""The commands that talk to a running balancer (L7): status, events, split, readonly, drain and similar.

`cli` registers them. Each imports what it needs itself.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.options import Admin, ConfigFile, UpstreamName, console
from balancer.errors import OperatorError

if TYPE_CHECKING:
    from balancer.console.changes import Changes
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
        with _quiet_interrupt():
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


def split(
    context: typer.Context,
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The name of a route that is split.")],
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[POOL=WEIGHT]...", help="New weights of its sides.")
    ] = None,
    admin: Admin = None,
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
    from balancer.console.client import AdminClient, find_admin, find_token
    from balancer.console.split import ABORT_IF, NOT_WATCHED, SplitCommand, parse_weights

    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    command = SplitCommand(client, console(), route)
    if hold is not None and not weights:
        raise typer.BadParameter("watches a change; name new weights", param_hint="--hold")
    if abort_if is not None and hold is None:
        raise typer.BadParameter(
            "needs --hold TIME: without it the change is not watched", param_hint="--abort-if"
        )
    if weights:
        try:
            seconds = None if hold is None else parse_duration(hold)
        except ValueError as error:
            raise typer.BadParameter(f"{hold} {error}", param_hint="--hold") from None
        command.set(parse_weights(weights), seconds, ABORT_IF if abort_if is None else abort_if)
        if hold is not None:
            try:
                with _quiet_interrupt():
                    raise typer.Exit(command.follow())
            except OperatorError as error:
                said = f"{error}. How the change of {route} ends is not known here; it may still be watched"
                console(stderr=True).print(f"balancer: {said}", soft_wrap=True, markup=False)
                raise typer.Exit(NOT_WATCHED) from None
    elif not watch:
        command.show()
    if watch:
        with _quiet_interrupt():
            command.watch()


def readonly(
    context: typer.Context,
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The name of a route.")],
    time: Annotated[str, typer.Argument(metavar="TIME", help="For how long, such as 60s; 0 ends it.")],
    admin: Admin = None,
    config: ConfigFile = None,
) -> None:
    """Let a route serve no changes for a while: only GET, HEAD and OPTIONS.

    [green]balancer readonly shop 60s[/green]

    Other methods get 503 with Retry-After. It ends by itself, after an hour at
    most, so that a switch of databases that fails halfway does not leave a
    site closed.
    """
    from balancer.config.durations import parse_duration
    from balancer.console.client import AdminClient, find_admin, find_token
    from balancer.console.split import set_read_only

    try:
        seconds = parse_duration(time)
    except ValueError as error:
        raise typer.BadParameter(f"{time} {error}", param_hint="TIME") from None
    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    set_read_only(client, console(), route, seconds)


def drain(
    context: typer.Context,
    upstream: UpstreamName,
    admin: Admin = None,
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
    """
    changes = _changes(context, admin, config, upstream)
    changes.want("draining")
    if wait is not None:
        with _quiet_interrupt():
            changes.wait(wait)


def maintenance(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Take an upstream out completely: no new requests, no active checks.

    Requests in flight may finish, as with [green]balancer drain[/green]. To bring it back:

    [green]balancer activate app1:8000[/green]
    """
    _changes(context, admin, config, upstream).want("maintenance")


def activate(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Send an upstream requests again after a drain or maintenance.

    It gets them at once, unless its active checks fail. After maintenance it
    gets its load gradually if SLOW_START is set.
    """
    _changes(context, admin, config, upstream).want("active")


def _client(context: typer.Context, admin: str | None, config: str | None) -> "AdminClient":
    from balancer.console.client import AdminClient, find_admin

    return AdminClient(find_admin(admin, os.environ, config or context.obj))


def _changes(context: typer.Context, admin: str | None, config: str | None, upstream: str) -> "Changes":
    from balancer.console.changes import Changes
    from balancer.console.client import AdminClient, find_admin, find_token

    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    return Changes(client, console(), upstream)


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Exit without a traceback on Ctrl-C: it is the normal way to end a command that runs for ever."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


COMMANDS = (status, events, split, readonly, drain, maintenance, activate)
