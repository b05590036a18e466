"""Incarnations that were superseded and are still running (L7), until their work has ended."""

from collections.abc import Iterator

from balancer.messages import Retire
from balancer.runtime.slot import Life, Slot


class Predecessors:
    """The superseded incarnations of all slots. Their counts, requests and connections may still end well."""

    __slots__ = ("_lives",)

    def __init__(self) -> None:
        self._lives: list[tuple[Slot, Life]] = []

    def __iter__(self) -> Iterator[tuple[Slot, Life]]:
        return iter(self._lives)

    def add(self, slot: Slot, life: Life) -> None:
        """`life` no longer serves the slot; its successor is about to."""
        self._lives.append((slot, life))

    def dismiss(self, slot: Slot) -> None:
        """The slot is served again: tell its predecessors to finish, and kill those that do not respond."""
        for of, life in self._lives:
            if of is slot and not (life.watchdog.is_well and life.process.send(Retire())):
                life.process.kill()

    def ended(self, slot: Slot, life: Life) -> bool:
        """A process has ended; whether it was one of them."""
        if (slot, life) not in self._lives:
            return False
        self._lives.remove((slot, life))
        return True
