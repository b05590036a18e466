"""Incarnations that were superseded and are still running (L7), until their work has ended."""

from collections.abc import Iterator

from balancer.messages import Retire
from balancer.runtime.generation import Generation
from balancer.runtime.slot import Life, Slot


class Predecessors:
    """The superseded incarnations of all slots. Their counts, requests and connections may still end well."""

    __slots__ = ("_dismissed", "_killed", "_lives")

    def __init__(self) -> None:
        self._lives: list[tuple[Slot, Life]] = []  # oldest first
        self._dismissed: set[Life] = set()
        self._killed: set[Life] = set()  # by `end_oldest`

    def __iter__(self) -> Iterator[tuple[Slot, Life]]:
        return iter(self._lives)

    def add(self, slot: Slot, life: Life) -> None:
        """`life` no longer serves the slot; its successor is about to."""
        self._lives.append((slot, life))

    def dismiss(self, slot: Slot, by: Generation) -> None:
        """The slot is served again, by a worker of that generation: tell its predecessors to finish, and kill
        those that do not respond."""
        for of, life in self._lives:
            if of is slot and life not in self._dismissed:
                retire = Retire(within=by.drain, ends=life.generation.ended_by(by))
                if life.watchdog.is_well and life.process.send(retire):
                    self._dismissed.add(life)
                else:
                    life.process.kill()

    def end_oldest(self) -> Life | None:
        """Kill the one that was superseded first, of those that are not killed yet; None if there is none."""
        for _, life in self._lives:
            if life not in self._killed:
                self._killed.add(life)
                life.process.kill()
                return life
        return None

    def ended(self, slot: Slot, life: Life) -> bool:
        """A process has ended; whether it was one of them."""
        if (slot, life) not in self._lives:
            return False
        self._lives.remove((slot, life))
        self._dismissed.discard(life)
        self._killed.discard(life)
        return True
