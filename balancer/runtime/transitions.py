"""States that a pool as a whole enters and leaves (L7) as its upstreams change: backup, panic, out."""

import logging
from typing import NamedTuple

from balancer.runtime.states import PoolState, UpstreamState
from balancer.upstreams.state import candidates


class Transition(NamedTuple):
    """A change of state: the event's kind, the log level, and the text for people."""

    kind: str
    level: int
    text: str


class _Situation(NamedTuple):
    kind: str  # of the event when it begins; with `_over` appended when it ends
    level: int
    begins: str
    ends: str


_BACKUP = _Situation(
    "backup",
    logging.WARNING,
    "no other upstream is eligible: the backup upstreams take over",
    "the backup upstreams stand by again",
)
_PANIC = _Situation(
    "panic",
    logging.ERROR,
    "panic: no upstream is eligible, so requests go to the ejected ones",
    "panic is over",
)
_OUT = _Situation(
    "out",
    logging.ERROR,
    "no upstream may be used: requests are answered with 503",
    "upstreams are available again",
)


def take_transitions(pool: PoolState) -> list[Transition]:
    """Update the pool's own state from its upstreams'; returns the changes."""
    if any(map(_serves_anyway, pool.upstreams.values())):
        on_backup = panics = out = False  # as `candidates` would find, without looking at all of them
    else:
        chosen, panics = candidates(list(pool.upstreams.values()), pool.spec.panic)
        on_backup, out = bool(chosen) and chosen[0].backup, not chosen
    transitions = [
        Transition(of.kind, of.level, of.begins)
        if now
        else Transition(f"{of.kind}_over", logging.INFO, of.ends)
        for before, now, of in (
            (pool.on_backup, on_backup, _BACKUP),
            (pool.panics, panics, _PANIC),
            (pool.out, out, _OUT),
        )
        if before != now
    ]
    pool.on_backup, pool.panics, pool.out = on_backup, panics, out
    return transitions


def _serves_anyway(one: UpstreamState) -> bool:
    return one.is_eligible() and not one.on_probation and not one.backup
