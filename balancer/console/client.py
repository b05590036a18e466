"""The commands' client of the admin API (L7): sends requests to the admin listener of an instance."""

import http.client
import json
import socket
from collections.abc import Collection, Mapping
from typing import Any

from balancer.console.places import Place
from balancer.errors import OperatorError

PATIENCE = 5.0  # seconds
_LONGEST_QUOTE = 200
_MADE = (http.client.OK, http.client.CREATED)


class UnreachableError(OperatorError):
    """Nothing answers at this address now."""


class NotABalancerError(OperatorError):
    """Something answers at this address, but not like a balancer of this version."""


class AdminClient:
    """Sends requests to one instance, each on its own connection. `token`, and the `operator` who asks, go
    only with changes."""

    def __init__(self, place: Place, token: str = "", operator: str = "") -> None:
        self.place = place
        self._token = token
        self._operator = operator

    def get(self, target: str, field: str, patience: float = PATIENCE) -> Mapping[str, Any]:
        """The JSON object in the answer, which must have `field`. `patience` is the timeout in seconds.

        Raises UnreachableError or NotABalancerError with one plain sentence.
        """
        return self.ask("GET", target, None, field, patience=patience)[1]

    def text(self, target: str, patience: float = PATIENCE) -> str:
        """An answer that is not JSON; otherwise like `get`."""
        connection = http.client.HTTPConnection(self.place.host, self.place.port, timeout=patience)
        try:
            connection.request("GET", target, headers={"Host": str(self.place)})
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error, patience) from None
        finally:
            connection.close()
        if status not in _MADE:
            raise NotABalancerError(self._surprise("GET", target, status, None))
        return content.decode("utf-8", "replace")

    def patch(self, target: str, change: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        """Make a change; otherwise like `get`."""
        return self.ask("PATCH", target, change, field)[1]

    def ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
        field: str,
        *,
        results: Collection[str] = (),
        patience: float = PATIENCE,
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object in the answer: one with `field`, or, if a change was not made, with one
        of `results` as its `result`. Otherwise like `get`."""
        headers: dict[str, str | bytes] = {"Host": str(self.place)}
        if method != "GET":
            headers["Content-Type"] = "application/json"
            if self._operator:
                headers["X-Operator"] = self._operator.encode()
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
        text = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection(self.place.host, self.place.port, timeout=patience)
        try:
            connection.request(method, target, text, headers)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error, patience) from None
        finally:
            connection.close()
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            is_made = status in _MADE and field in answer
            if is_made or (status not in _MADE and answer.get("result") in results):
                return status, answer
        raise NotABalancerError(self._surprise(method, target, status, answer))

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
