"""The clients for what `--admin` names, with the token and the user of this shell (L7).

Every command imports this, so it imports what takes time only when it is used.
"""

import os
from typing import TYPE_CHECKING

import typer

from balancer.console.options import console, quiet_interrupt

if TYPE_CHECKING:
    from balancer.console.client import AdminClient
    from balancer.console.everywhere import Act


def client_of(context: typer.Context, admin: str | None, config: str | None) -> "AdminClient":
    """The client of one instance, for reading."""
    from balancer.console.client import AdminClient
    from balancer.console.places import find_admin

    return AdminClient(find_admin(admin, os.environ, config or context.obj))


def clients_of(context: typer.Context, admin: list[str] | None, config: str | None) -> "list[AdminClient]":
    """The clients of all instances, for changes too."""
    from balancer.console.client import AdminClient
    from balancer.console.places import find_admins, find_token, operator_name

    file = config or context.obj
    token, operator = find_token(os.environ, file), operator_name(os.environ)
    return [AdminClient(place, token, operator) for place in find_admins(admin, os.environ, file)]


def do_everywhere(context: typer.Context, admin: list[str] | None, config: str | None, act: "Act") -> None:
    """Do it at all instances; Ctrl-C only ends the command."""
    from balancer.console.everywhere import everywhere

    with quiet_interrupt():
        everywhere(clients_of(context, admin, config), console(), act)
