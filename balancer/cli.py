"""The command `balancer` (L7): run (default), check, route, demo, policies, and those in `console`.

Each command imports what it needs itself: settings and policies take 0.2 s, which --version and --help save.

Problems that the operator must fix go to stderr, one line each, with exit code 1; a wrong command line is 2.
"""

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from balancer import __version__, build
from balancer.console import change_commands, commands, site_commands
from balancer.console.config_commands import config_app, replace
from balancer.console.options import ConfigFile, console
from balancer.errors import OperatorError, SettingsError
from balancer.runtime.start import start

if TYPE_CHECKING:
    from balancer.config.loader import Loaded

app = typer.Typer(
    name="balancer",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        console(stderr=True).print(Text.assemble(("balancer: ", "bold yellow"), warning), soft_wrap=True)
    if yaml:
        from balancer.config.effective import as_yaml

        print(as_yaml(loaded.settings), end="")
    else:
        from balancer.console.settings import print_settings

        print_settings(loaded, console())


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
    Of a split it names the side of a user whom the request, or --client, names.
    """
    from balancer.console.route import explain
    from balancer.runtime.blueprint import instance_spec

    settings = _load(context, config).settings
    worker = instance_spec(settings, via="balancer", max_connections=settings.limits.max_connections).worker
    explain(worker, method, url, header or (), client, console())


@app.command()
def demo(
    load: Annotated[bool, typer.Option("--load", help="Also send it a light load.")] = False,
) -> None:
    """Run in front of three small demo replicas on this machine."""
    from balancer.demo.app import run as run_demo

    raise typer.Exit(run_demo(load))


for _command in (*commands.COMMANDS, *change_commands.COMMANDS, *site_commands.COMMANDS, replace):
    app.command()(_command)
app.add_typer(config_app, name="config")


@app.command()
def policies() -> None:
    """List the policies: how each chooses the upstream of a request.

    [green]BALANCER_POLICY=round_robin[/green] chooses one of them.
    """
    from balancer.console.policies import print_policies

    print_policies(console())


def _load(context: typer.Context, config: str | None) -> "Loaded":
    from balancer.config.loader import load_with_origins
    from balancer.discovery import own_sources
    from balancer.policies import registry

    return load_with_origins(os.environ, config or context.obj, registry, own_sources)


def report(error: OperatorError) -> None:
    """Print each problem on a line of its own."""
    shown = console(stderr=True)
    for problem in error.problems if isinstance(error, SettingsError) else [str(error)]:
        shown.print(Text.assemble(("balancer: ", "bold red"), problem), soft_wrap=True)
