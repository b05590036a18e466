"""States that a pool as a whole enters and leaves (L7), as its upstreams change: backup, panic, nobody."""

import logging
from typing import NamedTuple

from balancer.runtime.states import PoolState, UpstreamState
from balancer.upstreams.state import candidates


class Transition(NamedTuple):
    """One that was just made: the event's kind, the log's level, and what people are told."""

    kind: str
    level: int
    text: str


class _Situation(NamedTuple):
    kind: str  # of the event where it begins; with `_over` at the end where it ends
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
    """Bring the pool's own state up to date with its upstreams'; what is new about it."""
    if any(map(_serves_anyway, pool.upstreams.values())):
        on_backup = panics = out = False  # what `candidates` comes to, without a look at all of them
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
