"""What workers are made from (L7): a reload that needs new workers makes a new generation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from balancer.messages import FromSupervisor, Start
from balancer.runtime.process_stats import ProcessStats
from balancer.runtime.worker_process import OnEnded, OnMessage


class Process(Protocol):
    """A worker process in the view of its slot."""

    pid: int

    def stats(self) -> ProcessStats:
        """Its usage so far. May be called from another thread, also after its end."""

    def send(self, message: FromSupervisor) -> bool:
        """Queue a message."""

    def ask_for_stack(self) -> None:
        """Make it write its stack to stderr, even in the middle of a turn of its loop."""

    def kill(self) -> None:
        """End it at once."""


class Spawn(Protocol):
    """Starts a worker process. Raises OSError if the machine does not allow it."""

    def __call__(self, start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> Process:
        """The running process."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Settings and sockets. `workers` is their number. Each of `slots`, which may be more, has sockets: those
    without a worker are served by others. `addresses` are where they listen: of the plain listener, and of
    the TLS listener, if there is one. `start_message(slot, page)` is the first message to a worker. Those
    that are replaced live on for `drain` seconds at most."""

    workers: int
    slots: int
    addresses: tuple[object, ...]
    start_message: Callable[[int, int], Start]
    spawn: Spawn
    drain: float
    serial: int = 0  # equal for generations of the same settings

    def ended_by(self, after: "Generation") -> tuple[int, ...]:
        """Which of its listeners, by their place in `addresses`, are no more in the next generation."""
        return tuple(at for at, address in enumerate(self.addresses) if address not in after.addresses)
