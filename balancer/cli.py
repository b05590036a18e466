"""The command `balancer` (L7): run (the default), check, policies, status, events, drain and its like, demo.

What the operator must mend is said on stderr, a line each, with exit code 1; a wrong command line is 2.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from balancer import __version__
from balancer.config import Loaded, load_with_origins
from balancer.config.effective import as_yaml
from balancer.console.client import AdminClient, find_admin, find_token
from balancer.errors import OperatorError, SettingsError
from balancer.policies import registry

if TYPE_CHECKING:
    from balancer.console.changes import Changes

# Where nothing tells the width, as in a pipe or a container's log, lines are better long than folded.
_WIDTH_OF_A_PIPE = 160
_STDERR = 2

app = typer.Typer(
    name="balancer",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Admin = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The admin listener of the running balancer, instead of ADMIN_LISTEN as set here.",
        show_default=False,
    ),
]
UpstreamName = Annotated[
    str, typer.Argument(metavar="UPSTREAM", help="As balancer status shows it, POOL/UPSTREAM in other pools.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="A YAML settings file, instead of BALANCER_CONFIG."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version
        from platform import python_version

        print(f"balancer {__version__}, Python {python_version()}, uvloop {version('uvloop')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def balancer(
    context: typer.Context,
    config: ConfigFile = None,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the versions of balancer, Python and uvloop.",
        ),
    ] = False,
) -> None:
    """An HTTP load balancer in front of your app replicas.

    Without a command it [bold]runs[/bold], configured by the environment or a YAML file:

    [green]BALANCER_UPSTREAMS=app1:8000,app2:8000 balancer[/green]

    Clients then connect to port 8080. It tells of itself on 127.0.0.1:9901, under /readyz and /metrics.

    [green]balancer check[/green] shows every setting, and says what is wrong.
    [green]balancer status[/green] shows how the upstreams of a running one are.
    """
    context.obj = config
    if context.invoked_subcommand is None:
        run(context)


@app.command()
def run(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the balancer until TERM (the default command)."""
    from balancer.runtime import signals

    signals.outside_the_loop()
    signals.say_crashes()
    loaded = _load(context, config)
    from balancer.runtime.launch import run as launch  # loads uvloop, aiohttp, metrics

    raise typer.Exit(launch(loaded))


@app.command()
def check(
    context: typer.Context,
    config: ConfigFile = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print a settings file instead of a table.")] = False,
) -> None:
    """Show the settings that would take effect, or all that is wrong with them.

    It reads every file that a start reads, and loads the policy. What was set
    and changes nothing is told on stderr, as is what this machine would
    refuse. It does not see whether the ports are free, whether names resolve,
    and whether the app replicas answer: [green]balancer status[/green] shows
    those of a running balancer.
    """
    from balancer.runtime.here import troubles

    loaded = _load(context, config)
    for warning in (*loaded.warnings, *troubles(loaded)):
        _console(stderr=True).print(Text.assemble(("balancer: ", "bold yellow"), warning), soft_wrap=True)
    if yaml:
        print(as_yaml(loaded.settings), end="")
    else:
        from balancer.console.settings import print_settings

        print_settings(loaded, _console())


@app.command()
def demo(
    load: Annotated[bool, typer.Option("--load", help="Send it a gentle load as well.")] = False,
) -> None:
    """Run in front of three small demo replicas on this machine."""
    from balancer.demo.app import run as run_demo

    raise typer.Exit(run_demo(load))


@app.command()
def status(
    context: typer.Context,
    admin: Admin = None,
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what GET /api/pools answers.")] = False,
) -> None:
    """Show the upstreams of a running balancer: states, requests, last checks.

    It is asked on its admin listener: the one of the settings here, so that
    this works without options in its container, or the one that is named:

    [green]docker compose exec balancer balancer status[/green]

    [green]balancer status --admin 10.0.0.5:9901 --watch[/green]

    An upstream that is not well has a line below the table that says why, and
    what to do about it. What is counted is counted since the start. inflight
    3/8: of 8 that it may have at once. weight 0.5/2: in a slow start to 2.
    A pool that is overloaded is asked for more than it can do: add replicas;
    what clients get in the meantime is in docs/overload.md.
    """
    from balancer.console import status as shown

    client = _client(context, admin, config)
    if watch and as_json:
        raise typer.BadParameter("prints once; leave out --watch", param_hint="--json")
    if watch:
        with _quiet_interrupt():
            shown.watch(client, _console())
    shown.show(client, _console(), as_json=as_json)


@app.command()
def events(
    context: typer.Context,
    admin: Admin = None,
    config: ConfigFile = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with the next ones as they come, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
) -> None:
    """Print what has changed in a running balancer: upstreams ejected, readmitted, added, and why.

    [green]balancer events --follow[/green]

    It keeps the last 10,000 changes since its start. Following goes on when the
    balancer is restarted. Only events go to stdout.
    """
    from balancer.console.events import Events

    shown = Events(_client(context, admin, config), _console(), _console(stderr=True), as_json=as_json)
    # Not by KeyboardInterrupt: one that is raised in a destructor is lost, and following would go on. Each
    # line has been flushed, so there is nothing to bring in order.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    shown.show()
    if follow:
        shown.follow()


@app.command()
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
            help="Wait until nothing runs there any more; exit 1 if it takes longer.",
        ),
    ] = None,
) -> None:
    """Send an upstream no new requests; what runs there ends.

    Running requests and WebSocket tunnels go on to their end, and it is still
    checked. Clients that a sticky session pins to it keep using it: where
    they shall move, use maintenance. To replace a replica without losing a
    request:

    [green]balancer drain app1:8000 --wait 30 && docker compose restart app1[/green]
    [green]balancer activate app1:8000[/green]

    Where SLOW_START is set, put it into maintenance before the restart: it
    then gets requests little by little.

    Where the balancer has an ADMIN_TOKEN, BALANCER_ADMIN_TOKEN or
    BALANCER_ADMIN_TOKEN_FILE must be set here as well.
    """
    changes = _changes(context, admin, config, upstream)
    changes.want("draining")
    if wait is not None:
        with _quiet_interrupt():
            changes.wait(wait)


@app.command()
def maintenance(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Take an upstream fully out: no new requests, no active checks.

    What runs there may end, as with [green]balancer drain[/green]. It comes back with

    [green]balancer activate app1:8000[/green]
    """
    _changes(context, admin, config, upstream).want("maintenance")


@app.command()
def activate(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Send an upstream requests again after a drain or maintenance.

    It gets them at once, unless its active checks have found it ill, and after
    maintenance little by little where SLOW_START is set.
    """
    _changes(context, admin, config, upstream).want("active")


@app.command()
def policies() -> None:
    """List the policies: how each chooses the upstream of a request.

    [green]BALANCER_POLICY=round_robin[/green] chooses one of them.
    """
    from balancer.console.policies import print_policies

    print_policies(_console())


def _client(context: typer.Context, admin: str | None, config: str | None) -> AdminClient:
    return AdminClient(find_admin(admin, os.environ, config or context.obj))


def _changes(context: typer.Context, admin: str | None, config: str | None, upstream: str) -> "Changes":
    from balancer.console.changes import Changes

    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    return Changes(client, _console(), upstream)


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Ctrl-C is how one ends what goes on for ever."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _load(context: typer.Context, config: str | None) -> Loaded:
    return load_with_origins(os.environ, config or context.obj, registry)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_OF_A_PIPE
    return console


def _open_standard_descriptors() -> None:
    """Where 0, 1 or 2 was closed, the next file opened would take its number, and what is meant for it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def main() -> None:
    """The entry point: what an operator must mend becomes plain lines, never a traceback."""
    _open_standard_descriptors()
    try:
        app(prog_name="balancer")
    except OperatorError as error:
        console = _console(stderr=True)
        for problem in error.problems if isinstance(error, SettingsError) else [str(error)]:
            console.print(Text.assemble(("balancer: ", "bold red"), problem), soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:  # before the supervisor has taken over the signal
        sys.exit(128 + signal.SIGINT)
