"""The authoritative weights of split routes (L7), in the supervisor: the operator changes them while it runs.

They last as long as the instance. Each change has a revision and an event, and reaches all workers at once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from balancer.admin.view import RefusedError, SplitChange
from balancer.config.shares import MOST_WEIGHT, in_words
from balancer.messages import SplitUpdate
from balancer.spec.worker import RouteSpec


@dataclass(slots=True, eq=False)
class _Divided:
    """One split route; the weights are by pool."""

    spec: RouteSpec
    weights: dict[str, int]
    revision: int = 0

    @property
    def settings(self) -> dict[str, int]:
        return _weights(self.spec)

    def update(self) -> SplitUpdate:
        return SplitUpdate(route=self.spec.name, revision=self.revision, weights=tuple(self.weights.values()))


def _weights(spec: RouteSpec) -> dict[str, int]:
    assert spec.split is not None
    return {side.pool: weight for side, weight in zip(spec.sides, spec.split.weights, strict=True)}


class Splits:
    """`note(text)` records an event and returns its revision; `broadcast` reaches all workers."""

    def __init__(
        self,
        routes: Sequence[RouteSpec],
        *,
        note: Callable[[str], int],
        broadcast: Callable[[SplitUpdate], None],
        log: logging.Logger,
    ) -> None:
        self._note = note
        self._broadcast = broadcast
        self._log = log
        self._divided = {
            spec.name: _Divided(spec, _weights(spec)) for spec in routes if spec.split is not None
        }

    def weights(self, route: str) -> Mapping[str, int] | None:
        """The present weights of a route's sides, None if it is not split."""
        found = self._divided.get(route)
        return None if found is None else found.weights

    def set(self, route: str, weights: Mapping[str, int]) -> None:
        """The operator sets these weights; those of other sides stay. Raises RefusedError."""
        divided = self._divided.get(route)
        if divided is None:
            known = ", ".join(self._divided) or "none"
            raise RefusedError(f"route {route} is not split; split are: {known}")
        for pool, weight in weights.items():
            if pool not in divided.weights:
                raise RefusedError(f"route {route} has no side {pool}; it has {', '.join(divided.weights)}")
            if not 0 <= weight <= MOST_WEIGHT:
                raise RefusedError(f"the weight of {pool} is not a whole number from 0 to {MOST_WEIGHT}")
        after = {**divided.weights, **weights}
        if not any(after.values()):
            raise RefusedError(f"route {route} would have no side with a weight above 0")
        if after == divided.weights:
            return
        before, divided.weights = divided.weights, after
        text = f"route {route} is split {in_words(after)} (before: {in_words(before)}): operator request"
        self._log.info("%s", text)
        divided.revision = self._note(text)
        self._broadcast(divided.update())

    def updates(self) -> tuple[SplitUpdate, ...]:
        """The weights that are not those of the settings, for a new worker."""
        return tuple(one.update() for one in self._divided.values() if one.weights != one.settings)

    def changes(self) -> list[SplitChange]:
        """The differences from the settings."""
        return [
            SplitChange(name, one.weights)
            for name, one in self._divided.items()
            if one.weights != one.settings
        ]
