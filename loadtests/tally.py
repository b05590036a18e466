"""What a load generator counts of the answers beyond Locust's own statistics, and how it is added up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = "none"  # in place of a status: the connection failed or broke


@dataclass(slots=True)
class Tally:
    """Answers by status, and by the replica that gave them where a header named it."""

    statuses: Counter[str] = field(default_factory=Counter)
    replicas: Counter[str] = field(default_factory=Counter)

    def count(self, status: int, replica: str | None) -> None:
        """One request has ended; `status` 0 means without an answer."""
        self.statuses[str(status) if status else NO_ANSWER] += 1
        if replica:
            self.replicas[replica] += 1

    def take(self) -> dict[str, dict[str, int]]:
        """What was counted since the last call, as plain data for another process."""
        report = {"statuses": dict(self.statuses), "replicas": dict(self.replicas)}
        self.statuses.clear()
        self.replicas.clear()
        return report

    def add(self, report: Mapping[str, Any]) -> None:
        """Add what another process counted."""
        self.statuses.update(report["statuses"])
        self.replicas.update(report["replicas"])
