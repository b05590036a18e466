"""The commands' client of the admin API (L7): finds the running balancer's listener, and sends requests."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from balancer.config.address import Address, join_host_port, parse_listen, split_host_port
from balancer.config.sources import read_file
from balancer.config.token import read_token
from balancer.errors import OperatorError, SettingsError

PORT = 9901
PATIENCE = 5.0  # seconds
_LONGEST_QUOTE = 200
_LAST_PORT = 65535


class UnreachableError(OperatorError):
    """Nothing answers at this address now."""


class NotABalancerError(OperatorError):
    """Something answers at this address, but not like a balancer of this version."""


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


class AdminClient:
    """Sends requests to one instance, each on its own connection. `token` is sent only with changes."""

    def __init__(self, place: Place, token: str = "") -> None:
        self.place = place
        self._token = token

    def get(self, target: str, field: str, patience: float = PATIENCE) -> Mapping[str, Any]:
        """The JSON object in the answer, which must have `field`. `patience` is the timeout in seconds.

        Raises UnreachableError or NotABalancerError with one plain sentence.
        """
        return self._ask("GET", target, None, field, patience)

    def patch(self, target: str, change: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        """Make a change; otherwise like `get`."""
        return self._ask("PATCH", target, json.dumps(change), field, PATIENCE)

    def _ask(
        self, method: str, target: str, body: str | None, field: str, patience: float
    ) -> Mapping[str, Any]:
        headers = {"Host": str(self.place)}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self.place.host, self.place.port, timeout=patience)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error, patience) from None
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status != http.client.OK or not isinstance(answer, dict) or field not in answer:
            raise NotABalancerError(self._surprise(method, target, status, answer))
        return answer

    def _explained(self, error: OSError | http.client.HTTPException, patience: float) -> OperatorError:
        place = self.place
        if isinstance(error, ConnectionRefusedError):
            return UnreachableError(
                f"nothing answers on {place}; is the balancer running? If its ADMIN_LISTEN "
                "differs, use --admin HOST:PORT"
            )
        if isinstance(error, TimeoutError):
            return UnreachableError(
                f"{place} did not answer within {patience:g} s; is it the balancer's "
                "ADMIN_LISTEN, and is that machine reachable?"
            )
        if isinstance(error, socket.gaierror):
            return UnreachableError(f"the name {place.host} does not resolve; correct --admin")
        if isinstance(error, ConnectionError | http.client.IncompleteRead):
            return UnreachableError(
                f"{place} closed the connection before its response was complete; is the balancer stopping?"
            )
        if isinstance(error, OSError):
            reason = (error.strerror or str(error)).lower()
            return UnreachableError(f"{place} cannot be reached ({reason}); correct --admin, or the network")
        return NotABalancerError(
            f"the server on {place} does not speak HTTP; name the balancer's ADMIN_LISTEN with --admin"
        )

    def _surprise(self, method: str, target: str, status: int, answer: Any) -> str:
        if status == http.client.UNAUTHORIZED:
            what = "a different ADMIN_TOKEN from this shell's" if self._token else "an ADMIN_TOKEN"
            return (
                f"the balancer on {self.place} requires {what}: set BALANCER_ADMIN_TOKEN or "
                "BALANCER_ADMIN_TOKEN_FILE here to its value"
            )
        if isinstance(answer, dict) and "error" in answer:
            return f"the balancer on {self.place} answers {status}: {str(answer['error'])[:_LONGEST_QUOTE]}"
        return (
            f"the server on {self.place} is not the admin API of a balancer ({method} {target}: "
            f"{status}); --admin takes ADMIN_LISTEN, not the port for clients"
        )
