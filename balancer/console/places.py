"""Which balancers the commands ask (L7): the admin listeners of running instances, and their token."""

import getpass
import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from balancer.config.address import Address, join_host_port, parse_listen, split_host_port
from balancer.config.sources import read_file
from balancer.config.token import read_token
from balancer.errors import OperatorError, SettingsError

PORT = 9901
_DNS = "dns://"
_LAST_PORT = 65535
_LONGEST_NAME = 64

# The addresses of a name; raises OSError.
LookUp = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Host and port to connect to for the admin API."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


def find_admin(named: str | None, environ: Mapping[str, str], config_file: str | None) -> Place:
    """The place that `--admin` names, else that of a balancer with this environment and file."""
    if named is not None:
        return _parse(named)
    setting, value = "BALANCER_ADMIN_LISTEN", environ.get("BALANCER_ADMIN_LISTEN", "").strip()
    name = config_file or environ.get("BALANCER_CONFIG", "").strip()
    if not value and name:
        reading = read_file(name, "--config" if config_file else "BALANCER_CONFIG")
        if reading.unreadable:
            raise SettingsError(reading.problems)
        setting, value = f"{name}: admin_listen", reading.tree.get("admin_listen", "")
    if not value:
        return Place("127.0.0.1", PORT)
    try:
        return _reachable(parse_listen(value, f"127.0.0.1:{PORT}"), setting)
    except ValueError as error:
        raise OperatorError(f"{setting}: {json.dumps(value, default=str)} {error}") from None


def _parse(named: str) -> Place:
    if named.startswith("https://"):
        raise OperatorError(
            f'--admin: "{named}" asks for TLS, which the admin API does not speak; write http://'
        )
    try:
        host, port = split_host_port(named.removeprefix("http://").rstrip("/"))
    except ValueError:
        host, port = "", None
    if port is not None and not 0 < port <= _LAST_PORT:
        raise OperatorError(f'--admin: "{named}" has a port that is not from 1 to {_LAST_PORT}')
    if not host:
        raise OperatorError(f'--admin: "{named}" is not host:port; write 127.0.0.1:{PORT}')
    return Place(host, PORT if port is None else port)


def _reachable(address: Address, setting: str) -> Place:
    if not address.port:
        raise OperatorError(
            f"{setting}: {address} means any free port; the balancer's log has the port that it "
            "took: use --admin 127.0.0.1:PORT"
        )
    ip = ip_address(address.host)
    if not ip.is_unspecified:
        return Place(address.host, address.port)
    return Place("127.0.0.1" if ip.version == 4 else "::1", address.port)


def find_token(environ: Mapping[str, str], config_file: str | None) -> str:
    """The token of a balancer with this environment and file, "" if it has none."""
    tree: Mapping[str, Any] = {}
    name = config_file or environ.get("BALANCER_CONFIG", "").strip()
    if name:
        tree = read_file(name, "--config" if config_file else "BALANCER_CONFIG").tree
    token = environ.get("BALANCER_ADMIN_TOKEN", "").strip()
    file = environ.get("BALANCER_ADMIN_TOKEN_FILE", "").strip()
    if not token and not file:
        token, file = str(tree.get("admin_token") or ""), str(tree.get("admin_token_file") or "")
    return read_token(token, file)


def addresses_of(name: str) -> list[str]:
    """The IPv4 addresses of a name, or else its IPv6 addresses: an instance that has both is one. Raises
    OSError."""
    found = [
        (family, str(there[0]))
        for family, _, _, _, there in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    ]
    only = socket.AF_INET if any(family == socket.AF_INET for family, _ in found) else socket.AF_INET6
    return sorted({address for family, address in found if family == only})


def find_admins(
    named: Sequence[str] | None,
    environ: Mapping[str, str],
    config_file: str | None,
    look_up: LookUp = addresses_of,
) -> list[Place]:
    """The places that all `--admin` name, each once: an address or several with commas, or `dns://name:port`
    for all addresses of a name. Without any, as `find_admin`."""
    places: dict[Place, None] = {}
    for text in (part.strip() for each in named or () for part in each.split(",")):
        places |= dict.fromkeys(_all_of(text, look_up) if text.startswith(_DNS) else [_parse(text)])
    return list(places) or [find_admin(None, environ, config_file)]


def _all_of(text: str, look_up: LookUp) -> list[Place]:
    name = _parse(text.removeprefix(_DNS))
    try:
        addresses = list(look_up(name.host))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OperatorError(
            f'--admin: "{text}" does not resolve ({why}); correct it, or write HOST:PORT'
        ) from None
    return [Place(address, name.port) for address in addresses]


def operator_name(environ: Mapping[str, str]) -> str:
    """The name of the user who runs the command, "" if there is none; it is shown in audit events."""
    try:
        name = environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return ""
    return "".join(each for each in name if each.isprintable())[:_LONGEST_NAME]
