"""What workers report to the supervisor (L7)."""

from typing import Protocol

from balancer.messages import (
    Access,
    CameBack,
    Doubt,
    Eject,
    Elsewhere,
    Explained,
    Failures,
    Recovered,
    Traces,
    Verdict,
)


class WorkerEvents(Protocol):
    """Events for the supervisor."""

    def established(self) -> None:
        """All workers are ready for the first time."""

    def failed(self, error: str) -> None:
        """A worker failed before all were ready for the first time: one sentence."""

    def gone(self) -> None:
        """After `drain` or `kill`: no worker is left."""

    def access(self, message: Access) -> None:
        """Access-log lines of a worker."""

    def failures(self, message: Failures) -> None:
        """Errors that a worker has answered, oldest first."""

    def traced(self, message: Traces) -> None:
        """Requests that a worker has traced, oldest first."""

    def explained(self, message: Explained) -> None:
        """A worker has explained requests."""

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker has found an outlier; returns the answer to it."""

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that a check should confirm."""

    def recovered(self, message: Recovered) -> None:
        """A worker's request to an upstream on probation has succeeded."""

    def looped(self, message: CameBack) -> None:
        """A request has come back to the worker that sent it, or to another one."""

    def elsewhere(self, message: Elsewhere) -> None:
        """An upstream does not answer at its own address, but at another one of its name."""
