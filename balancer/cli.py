"""The command `balancer` (L7): run (default), check, policies, status, events, drain and similar ones, demo.

Each command imports what it needs itself: settings and policies take 0.2 s, which --version and --help save.

Problems that the operator must fix go to stderr, one line each, with exit code 1; a wrong command line is 2.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from balancer import __version__, build
from balancer.errors import OperatorError, SettingsError
from balancer.runtime.start import start

if TYPE_CHECKING:
    from balancer.config.loader import Loaded
    from balancer.console.changes import Changes
    from balancer.console.client import AdminClient

# If the width is unknown, as in a pipe or a container's log, long lines are better than folded ones.
_WIDTH_OF_A_PIPE = 160

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
        help="Admin listener of the running balancer. If unset, ADMIN_LISTEN of the settings here.",
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


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version
        from platform import python_version

        uvloop = version("uvloop")
        print(f"balancer {__version__} ({build.kind()}), Python {python_version()}, uvloop {uvloop}")
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

    Clients then connect to port 8080. /readyz and /metrics are served on 127.0.0.1:9901.

    [green]balancer check[/green] shows every setting and reports mistakes.
    [green]balancer status[/green] shows the upstreams of a running balancer.
    """
    context.obj = config
    if context.invoked_subcommand is None:
        run(context)


@app.command()
def run(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the balancer until TERM (the default command)."""
    raise typer.Exit(start(config or context.obj))


@app.command()
def check(
    context: typer.Context,
    config: ConfigFile = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print a settings file instead of a table.")] = False,
) -> None:
    """Show the effective settings, or everything that is wrong with them.

    It reads every file that a start reads, and loads the policy. Settings that
    have no effect, or that this machine would refuse, are reported on stderr.
    It does not check whether ports are free, names resolve, or app replicas
    answer: [green]balancer status[/green] shows the replicas of a running
    balancer.
    """
    from balancer.runtime.here import troubles

    loaded = _load(context, config)
    for warning in (*loaded.warnings, *troubles(loaded)):
        _console(stderr=True).print(Text.assemble(("balancer: ", "bold yellow"), warning), soft_wrap=True)
    if yaml:
        from balancer.config.effective import as_yaml

        print(as_yaml(loaded.settings), end="")
    else:
        from balancer.console.settings import print_settings

        print_settings(loaded, _console())


@app.command()
def route(
    context: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, ...")],
    url: Annotated[str, typer.Argument(metavar="URL", help="https://shop.example/api/x")],
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="FIELD", help="A header field, 'Name: value'; may be repeated."
        ),
    ] = None,
    client: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address that the request comes from.")
    ] = "192.0.2.1",
    config: ConfigFile = None,
) -> None:
    """Show which route a request takes, what is changed, and which pool serves it. Nothing is sent.

    [green]balancer route GET https://shop.example/api/x -H 'Cookie: beta=1'[/green]

    It reads the settings here, not those of a running balancer. Quote a URL
    with ? or &. Dot segments and encodings are treated as in a real request.
    """
    from balancer.console.route import explain
    from balancer.runtime.blueprint import instance_spec

    settings = _load(context, config).settings
    worker = instance_spec(settings, via="balancer", max_connections=settings.limits.max_connections).worker
    explain(worker, method, url, header or (), client, _console())


@app.command()
def demo(
    load: Annotated[bool, typer.Option("--load", help="Also send it a light load.")] = False,
) -> None:
    """Run in front of three small demo replicas on this machine."""
    from balancer.demo.app import run as run_demo

    raise typer.Exit(run_demo(load))


@app.command()
def status(
    context: typer.Context,
    admin: Admin = None,
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON of GET /api/pools.")] = False,
) -> None:
    """Show the upstreams of a running balancer: states, requests, last checks.

    The command asks the admin listener in the settings here, so that it needs
    no options inside the container, or the one that --admin names:

    [green]docker compose exec balancer balancer status[/green]

    [green]balancer status --admin 10.0.0.5:9901 --watch[/green]

    An unhealthy upstream has a line below the table with the reason and the
    remedy. Counts are since the start. inflight 3/8: 3 in flight, of at most
    8. weight 0.5/2: in a slow start to 2. An overloaded pool gets more load
    than it can serve: add replicas; docs/overload.md says what clients get
    in the meantime.
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

    shown = Events(_client(context, admin, config), _console(), _console(stderr=True), as_json=as_json)
    # Not with KeyboardInterrupt: if it is raised in a destructor it is lost, and following would go on. Each
    # line has been flushed, so no clean-up is needed.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    shown.show()
    if follow:
        shown.follow()


@app.command()
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
        str, typer.Option(metavar="CONDITIONS", help="With --hold: what takes the change back.")
    ] = "errors>+0.5%,p95>1.3x",
) -> None:
    """Show the sides of a split route beside each other, or change their weights.

    [green]balancer split web stable=50 canary=50[/green]

    [green]balancer split web canary=50 --hold 10m --abort-if 'errors>+0.5%,p95>1.3x'[/green]

    The change reaches all workers at once, and lasts as long as the instance.
    Users stay on their side, but for as many as must move. With --hold the
    sides that grow are compared with the others, and the change is taken back
    at a breach, also if this command ends; then it exits with 1. Counts are
    since the start, with --watch of the last second; p50, p95 and p99 are of
    the first bytes of responses.
    """
    from balancer.config.durations import parse_duration
    from balancer.console.client import AdminClient, find_admin, find_token
    from balancer.console.split import SplitCommand, parse_weights

    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    command = SplitCommand(client, _console(), route)
    if hold is not None and not weights:
        raise typer.BadParameter("watches a change; name new weights", param_hint="--hold")
    if weights:
        try:
            seconds = None if hold is None else parse_duration(hold)
        except ValueError as error:
            raise typer.BadParameter(f"{hold} {error}", param_hint="--hold") from None
        command.set(parse_weights(weights), seconds, abort_if)
        if hold is not None:
            with _quiet_interrupt():
                raise typer.Exit(0 if command.follow() else 1)
    elif not watch:
        command.show()
    if watch:
        with _quiet_interrupt():
            command.watch()


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


@app.command()
def maintenance(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Take an upstream out completely: no new requests, no active checks.

    Requests in flight may finish, as with [green]balancer drain[/green]. To bring it back:

    [green]balancer activate app1:8000[/green]
    """
    _changes(context, admin, config, upstream).want("maintenance")


@app.command()
def activate(
    context: typer.Context, upstream: UpstreamName, admin: Admin = None, config: ConfigFile = None
) -> None:
    """Send an upstream requests again after a drain or maintenance.

    It gets them at once, unless its active checks fail. After maintenance it
    gets its load gradually if SLOW_START is set.
    """
    _changes(context, admin, config, upstream).want("active")


@app.command()
def policies() -> None:
    """List the policies: how each chooses the upstream of a request.

    [green]BALANCER_POLICY=round_robin[/green] chooses one of them.
    """
    from balancer.console.policies import print_policies

    print_policies(_console())


def _client(context: typer.Context, admin: str | None, config: str | None) -> "AdminClient":
    from balancer.console.client import AdminClient, find_admin

    return AdminClient(find_admin(admin, os.environ, config or context.obj))


def _changes(context: typer.Context, admin: str | None, config: str | None, upstream: str) -> "Changes":
    from balancer.console.changes import Changes
    from balancer.console.client import AdminClient, find_admin, find_token

    file = config or context.obj
    client = AdminClient(find_admin(admin, os.environ, file), find_token(os.environ, file))
    return Changes(client, _console(), upstream)


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Exit without a traceback on Ctrl-C: it is the normal way to end a command that runs for ever."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _load(context: typer.Context, config: str | None) -> "Loaded":
    from balancer.config.loader import load_with_origins
    from balancer.policies import registry

    return load_with_origins(os.environ, config or context.obj, registry)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_OF_A_PIPE
    return console


def report(error: OperatorError) -> None:
    """Print each problem on a line of its own."""
    console = _console(stderr=True)
    for problem in error.problems if isinstance(error, SettingsError) else [str(error)]:
        console.print(Text.assemble(("balancer: ", "bold red"), problem), soft_wrap=True)
