"""The commands that look at running balancers (L7): status, top, events. `cli` registers them.

Each imports what it needs itself.
"""

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from balancer.console.asking import client_of, clients_of
from balancer.console.options import Admin, Admins, ConfigFile, console, quiet_interrupt

if TYPE_CHECKING:
    pass


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

    client = client_of(context, admin, config)
    if watch and as_json:
        raise typer.BadParameter("prints once; leave out --watch", param_hint="--json")
    if watch:
        with quiet_interrupt():
            shown.watch(client, console())
    shown.show(client, console(), as_json=as_json)


def top(
    context: typer.Context,
    admin: Admins = None,
    config: ConfigFile = None,
    once: Annotated[bool, typer.Option("--once", help="Print one table, of one interval, and exit.")] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.2, max=60, help="Time between two looks.")
    ] = 1.0,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="name, rps, errors, latency or inflight.")
    ] = "name",
) -> None:
    """Show a live table of pools and upstreams: rates, latencies, inflight, queue.

    [green]balancer top[/green]

    [green]balancer top --admin dns://balancer:9901 --sort errors[/green]

    Keys: n r e l i sort by name, rps, errors, latency (p99) or inflight; up
    and down choose an upstream, enter looks into it, esc returns; q quits.

    Rates and percentiles are of the last interval. Errors are 5xx and failed
    connections; p50, p95 and p99 are of the time to the first byte of the
    response. inflight 3/8: 3 in flight, of at most 8. Several balancers are
    added up; one that goes away is named, with the time it was last seen.
    """
    from balancer.console.top import run
    from balancer.console.top_rates import ORDERS

    if sort not in ORDERS:
        raise typer.BadParameter(f"{sort} is not known; write {', '.join(ORDERS)}", param_hint="--sort")
    with quiet_interrupt():
        run(clients_of(context, admin, config), console(), interval=interval, order=sort, just_once=once)


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

    shown = Events(client_of(context, admin, config), console(), console(stderr=True), as_json=as_json)
    # Not with KeyboardInterrupt: if it is raised in a destructor it is lost, and following would go on. Each
    # line has been flushed, so no clean-up is needed.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    shown.show()
    if follow:
        shown.follow()


def explain(
    context: typer.Context,
    request_id: Annotated[
        str | None,
        typer.Argument(metavar="[REQUEST_ID]", help="X-Request-ID, as in the access log and in responses."),
    ] = None,
    admin: Admins = None,
    config: ConfigFile = None,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="Explain requests like this: 'path=/api host=shop.example client=192.0.2.0/24 method=GET "
            "route=web', all that is named.",
        ),
    ] = None,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="For how long, with --watch: 60s, 5m.")
    ] = "60s",
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON of GET /api/explain.")] = False,
) -> None:
    """Show which way a request took, and why: route, side, pin, choice, waits, attempts, what cut it.

    [green]balancer explain 6f1d2c8e9a0b4c3d00000000002a[/green]

    [green]balancer explain --watch 'path=/api client=192.0.2.7' --for 60s[/green]

    Without an id it lists the requests that are explained. Kept are the last
    errors that the balancer answered itself, and requests that were sent more
    than once; others by --watch, by EXPLAIN__SAMPLE, or marked by a trusted
    proxy with X-Balancer-Explain: 1. Several balancers are asked one after
    the other. Values of queries, cookies and secrets are masked.
    """
    from balancer.console import explain as explaining

    clients = clients_of(context, admin, config)
    if watch is not None and request_id is not None:
        raise typer.BadParameter("is for requests to come; leave out REQUEST_ID", param_hint="--watch")
    with quiet_interrupt():
        if watch is not None:
            explaining.watch(clients, console(), watch, duration, as_json=as_json)
        elif request_id is not None:
            explaining.show(clients, console(), request_id, as_json=as_json)
        else:
            explaining.list_all(clients, console(), as_json=as_json)


COMMANDS = (status, top, events, explain)
