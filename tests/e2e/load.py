"""Locust besides the tests: it runs while they change the stack, and reports at its end."""

import json
from collections import Counter
from dataclasses import dataclass

from tests.e2e.engine import run
from tests.e2e.stack import Stack

USERS = "20"
RATE = "10"  # requests a second of each user
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Locust's counts. Statuses are text; `none` is no response."""

    requests: int
    failures: int
    statuses: Counter[str]
    replicas: Counter[str]


class Load:
    """A Locust master and its workers, running until `end`."""

    def __init__(self, stack: Stack) -> None:
        environ = {"LOAD_TIME": "10m", "LOAD_USERS": USERS, "LOAD_RATE": RATE}
        stack.up("load", environ=environ)
        self._stack = stack
        (self._master,) = stack.containers("load")
        self._seen: Seen | None = None

    def end(self) -> Seen:
        """Stop it after its running requests. A second call returns the same result."""
        if self._seen is None:
            self._stack.signal(self._master, "TERM")
            run("docker", "wait", self._master, seconds=END_SECONDS)
            self._seen = seen(run("docker", "logs", self._master))
        return self._seen


def seen(output: str) -> Seen:
    """Read the JSON line that the load test prints at its end."""
    line = next(line for line in output.splitlines() if line.startswith('{"requests"'))
    counts = json.loads(line)
    return Seen(
        counts["requests"], counts["failures"], Counter(counts["statuses"]), Counter(counts["replicas"])
    )
