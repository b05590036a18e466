"""The counts of a load generator beyond Locust's own statistics, and their sum over processes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = "none"  # instead of a status: the connection failed or broke


@dataclass(slots=True)
class Tally:
    """Responses by status, and by replica if a header names it."""

    statuses: Counter[str] = field(default_factory=Counter)
    replicas: Counter[str] = field(default_factory=Counter)

    def count(self, status: int, replica: str | None) -> None:
        """One request has ended; `status` 0 means without a response."""
        self.statuses[str(status) if status else NO_ANSWER] += 1
        if replica:
            self.replicas[replica] += 1

    def take(self) -> dict[str, dict[str, int]]:
        """The counts since the last call, as plain data for another process."""
        report = {"statuses": dict(self.statuses), "replicas": dict(self.replicas)}
        self.statuses.clear()
        self.replicas.clear()
        return report

    def add(self, report: Mapping[str, Any]) -> None:
        """Add the counts of another process."""
        self.statuses.update(report["statuses"])
        self.replicas.update(report["replicas"])
