"""Clients' records of requests: one line of JSON for each, from the load's process to the harness."""

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """How a request ended for its client."""

    OK = "ok"
    STATUS = "status"  # a whole response with a status other than 200
    RESET = "reset"  # the connection was refused, reset or closed before any of the response
    CUT = "cut"  # the same after the response had begun
    TIMEOUT = "timeout"  # the client's patience ended
    WRONG = "wrong"  # the response to another request


@dataclass(frozen=True, slots=True)
class Record:
    """One request. Times in seconds: `begun` is its planned time, by the monotonic clock.

    `lag` is how much later it was sent, and `took` counts from `begun`, so a late request includes the time
    that its user waited. `client` is the address of its connection, `127.1.0.5:40112`.
    """

    number: int
    method: str
    begun: float
    lag: float
    took: float
    kind: Kind
    status: int
    client: str = ""

    @property
    def ended(self) -> float:
        """When it ended, by the monotonic clock."""
        return self.begun + self.took

    @property
    def failure(self) -> str:
        """The outcome for the client, such as `status 503` or `timeout`."""
        return f"status {self.status}" if self.kind is Kind.STATUS else self.kind.value


def write(path: Path, records: Iterable[Record]) -> None:
    """One line for each."""
    path.write_text("".join(f"{json.dumps(astuple(one))}\n" for one in records))


def read(path: Path) -> list[Record]:
    """Read the file of `write`."""
    found = []
    for line in path.read_text().splitlines():
        number, method, begun, lag, took, kind, status, client = json.loads(line)
        found.append(Record(number, method, begun, lag, took, Kind(kind), status, client))
    return found
