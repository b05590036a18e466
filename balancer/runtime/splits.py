"""The authoritative weights of split routes (L7), in the supervisor: the operator changes them while it runs.

`keeping` makes them outlast the instance. Each change has a revision and an event, and reaches all workers
at once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from balancer.admin.view import GateEnd, GateView, GateWish, RefusedError, SplitChange, moment
from balancer.clock import Clock
from balancer.config.shares import MOST_WEIGHT, in_words
from balancer.messages import SplitUpdate
from balancer.runtime.gate import MOST_HOLD, SLO, Gate, SloOf, Verdict, parse_conditions
from balancer.runtime.tally import Tally
from balancer.spec.slo import SloSpec
from balancer.spec.worker import RouteSpec


@dataclass(slots=True, eq=False)
class _Divided:
    """One split route; the weights are by pool. While they are watched by a `gate`, a breach brings those of
    `back_to` back: they are from before the first of several watched changes, so they have held."""

    spec: RouteSpec
    weights: dict[str, int]
    revision: int = 0
    gate: Gate | None = None
    gates: int = 0  # so far
    back_to: dict[str, int] = field(default_factory=dict)
    last_gate: GateEnd | None = None
    changed_by: str = ""  # who has set the present weights
    changed_at: float = 0.0  # seconds since the epoch

    @property
    def settings(self) -> dict[str, int]:
        return _weights(self.spec)

    def begin(self, gate: Gate, back_to: dict[str, int]) -> None:
        """Watch the present weights."""
        self.gate, self.back_to = gate, back_to
        self.gates += 1

    def end(self, result: str, why: str = "") -> None:
        """They are not watched any more."""
        self.gate = None
        self.last_gate = GateEnd(self.gates, result, why)

    def update(self) -> SplitUpdate:
        return SplitUpdate(route=self.spec.name, revision=self.revision, weights=dict(self.weights))


def _weights(spec: RouteSpec) -> dict[str, int]:
    assert spec.split is not None
    return {side.pool: weight for side, weight in zip(spec.sides, spec.split.weights, strict=True)}


def _gate(
    route: str, before: Mapping[str, int], after: Mapping[str, int], wish: GateWish, slo_of: SloOf
) -> Gate:
    """Watches the sides whose share grows, or those that the change names if none does."""
    if not 0 < wish.hold <= MOST_HOLD:
        raise RefusedError(f"the time to hold is not above 0 and at most {MOST_HOLD:.0f} seconds (7 days)")
    try:
        conditions = parse_conditions(wish.abort_if, slo_of)
    except ValueError as error:
        raise RefusedError(f"abort_if {wish.abort_if!r} {error}") from None
    was, will_be = sum(before.values()), sum(after.values())
    grown = frozenset(pool for pool in after if after[pool] * was > before[pool] * will_be)
    if not grown or not any(after[pool] for pool in after.keys() - grown):
        raise RefusedError(
            f"route {route}: a change can be watched only if a side grows and another one still gets requests"
        )
    if any(each.text == SLO for each in conditions):
        for pool in sorted(grown):
            if slo_of(pool) is None:
                raise RefusedError(
                    f"abort_if {wish.abort_if!r} asks for an SLO, and nothing is promised for requests of "
                    f"route {route} at {pool}; set SLO__LATENCY of the pool, or slo of the route"
                )
    return Gate(grown, conditions, wish.hold)


def _is_same_watch(now: Gate | None, wanted: Gate | None) -> bool:
    if now is None or wanted is None:
        return now is wanted
    return (now.hold, now.conditions) == (wanted.hold, wanted.conditions)


def _of_the_watch(wish: GateWish | None, back_to: Mapping[str, int], is_watched: bool) -> str:
    """What a change means for the watch; `is_watched`: the weights before it were still being watched."""
    if wish is None:
        return "; no longer watched" if is_watched else ""
    if is_watched:
        again = f"back to {in_words(back_to)} if {wish.abort_if}"
        return f"; the watch goes on for another {wish.hold:g} s, {again}"
    return f"; watched for {wish.hold:g} s, back if {wish.abort_if}"


class Splits:
    """`note(text)` records an event and returns its revision; `broadcast` reaches all workers;
    `tally(route, pool)` counts a side, and `slo_of(route, pool)` is what is promised there."""

    def __init__(
        self,
        routes: Sequence[RouteSpec],
        *,
        note: Callable[[str], int],
        broadcast: Callable[[SplitUpdate], None],
        tally: Callable[[str, str], Tally],
        slo_of: Callable[[str, str], SloSpec | None] = lambda route, pool: None,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._note = note
        self._broadcast = broadcast
        self._tally = tally
        self._slo_of = slo_of
        self._clock = clock
        self._log = log
        self.taken_back: Callable[[], None] = lambda: None  # called when a breach has brought weights back
        self._divided = {
            spec.name: _Divided(spec, _weights(spec)) for spec in routes if spec.split is not None
        }

    def settle(self, routes: Sequence[RouteSpec]) -> None:
        """The routes are these now. Weights that the operator has set stay as long as a route has the same
        sides."""
        before, self._divided = self._divided, {}
        for spec in routes:
            if spec.split is None:
                continue
            was = before.get(spec.name)
            new = self._divided[spec.name] = _Divided(spec, _weights(spec))
            if was is None or was.weights.keys() != new.weights.keys():
                continue
            if was.weights != was.settings or was.gate is not None:
                new.weights = {pool: was.weights[pool] for pool in new.weights}
            new.revision, new.gate, new.gates = was.revision, was.gate, was.gates
            new.back_to, new.last_gate = was.back_to, was.last_gate
            new.changed_by, new.changed_at = was.changed_by, was.changed_at

    def watched(self) -> str:
        """A route whose weights are being watched, "" for none."""
        return next((name for name, one in self._divided.items() if one.gate is not None), "")

    def kept(self) -> list[tuple[str, Mapping[str, int], str, float]]:
        """The routes whose weights are not those of the settings: the weights, who has set them, and when in
        seconds since the epoch. Of weights that are being watched, those before, which have held."""
        held = [
            (name, one, one.weights if one.gate is None else one.back_to)
            for name, one in self._divided.items()
        ]
        return [
            (name, weights, one.changed_by, one.changed_at)
            for name, one, weights in held
            if weights != one.settings
        ]

    def of_settings(self) -> list[tuple[str, Mapping[str, int]]]:
        """The routes whose weights are not those of the settings, with those."""
        return [
            (name, one.settings)
            for name, one in self._divided.items()
            if one.weights != one.settings or one.gate is not None
        ]

    def weights(self, route: str) -> Mapping[str, int] | None:
        """The present weights of a route's sides, None if it is not split."""
        found = self._divided.get(route)
        return None if found is None else found.weights

    def gate(self, route: str) -> GateView | None:
        """What a route's present weights must hold, None for nothing."""
        divided = self._divided.get(route)
        if divided is None or divided.gate is None:
            return None
        gate = divided.gate
        texts = [one.text for one in gate.conditions]
        return GateView(divided.gates, texts, gate.hold, gate.passed, divided.back_to, gate.waiting)

    def last_gate(self, route: str) -> GateEnd | None:
        """How the last watched change of a route has ended, None if there was none."""
        divided = self._divided.get(route)
        return None if divided is None else divided.last_gate

    def set(self, route: str, weights: Mapping[str, int], wish: GateWish | None = None, by: str = "") -> bool:
        """The operator `by` sets these weights; those of other sides stay. Returns whether that changes
        anything: the same weights with the same watch do not. Raises RefusedError."""
        divided = self._divided.get(route)
        if divided is None:
            known = ", ".join(self._divided) or "none"
            raise RefusedError(f"route {route} is not split; split are: {known}")
        for pool, weight in weights.items():
            if pool not in divided.weights:
                raise RefusedError(f"route {route} has no side {pool}; it has {', '.join(divided.weights)}")
            if not 0 <= weight <= MOST_WEIGHT:
                raise RefusedError(f"the weight of {pool} is not a whole number from 0 to {MOST_WEIGHT}")
        if not weights:
            raise RefusedError(
                f"no weight is given; route {route} has the sides {', '.join(divided.weights)}"
            )
        after = {**divided.weights, **weights}
        if not any(after.values()):
            raise RefusedError(f"route {route} would have no side with a weight above 0")
        before, is_watched = divided.weights, divided.gate is not None
        back_to = divided.back_to if is_watched else before
        gate = None if wish is None else _gate(route, back_to, after, wish, partial(self._slo_of, route))
        if after == before and _is_same_watch(divided.gate, gate):
            return False
        if is_watched:
            divided.end("replaced", f"an operator has set {in_words(after)} meanwhile")
        if gate is not None:
            divided.begin(gate, back_to)
        why = f"operator request{_of_the_watch(wish, back_to, is_watched)}"
        if after == before:
            self._tell(f"route {route} keeps {in_words(after)}: {why}")
        else:
            self._change(divided, after, why)
        divided.changed_by, divided.changed_at = by, self._clock.wall()
        return True

    def look(self) -> None:
        """Judge the changes that are being watched; call it every LOOK seconds."""
        for name, divided in self._divided.items():
            if divided.gate is None:
                continue
            tallies = {pool: self._tally(name, pool) for pool in divided.weights}
            verdict, why = divided.gate.look(self._clock.monotonic_ns() / 1e9, tallies)
            if verdict is Verdict.WATCHING:
                continue
            if verdict is Verdict.BREACHED:
                divided.end("breached", why)
                self._change(divided, divided.back_to, why, level=logging.WARNING)
                divided.changed_by, divided.changed_at = "a breach of its gate", self._clock.wall()
                self.taken_back()
            else:
                divided.end("held")
                self._tell(f"route {name} has held {in_words(divided.weights)} for its time")

    def _change(self, divided: _Divided, after: dict[str, int], why: str, level: int = logging.INFO) -> None:
        before, divided.weights = divided.weights, after
        text = f"route {divided.spec.name} is split {in_words(after)} (before: {in_words(before)}): {why}"
        divided.revision = self._tell(text, level)
        self._broadcast(divided.update())

    def _tell(self, text: str, level: int = logging.INFO) -> int:
        """An event; returns its revision."""
        self._log.log(level, "%s", text)
        return self._note(text)

    def updates(self) -> tuple[SplitUpdate, ...]:
        """The weights that are not those of the settings, for a new worker."""
        return tuple(one.update() for one in self._divided.values() if one.weights != one.settings)

    def changes(self) -> list[SplitChange]:
        """The differences from the settings."""
        return [
            SplitChange(name, one.weights, one.changed_by, moment(one.changed_at))
            for name, one in self._divided.items()
            if one.weights != one.settings
        ]
