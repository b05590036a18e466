"""What is wrong with pools and their upstreams (L5). Pure.

A pool that has lost an upstream is never well, however well the others serve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from balancer.overview.finding import Found, found, rate
from balancer.overview.shape import OverloadShape, PoolShape, UpstreamShape

NAMED: Final = 5  # upstreams of a pool with a sentence of their own; the others are counted
FEW: Final = 3  # that one sentence names
STANDS_OUT: Final = "stands out"  # beside the states


def of_pools(pools: Mapping[str, PoolShape]) -> Iterator[Found]:
    """Of all of them."""
    for name, pool in pools.items():
        yield from _of_pool(name, pool)


def _of_pool(name: str, pool: PoolShape) -> Iterator[Found]:
    out = {id: one for id, one in pool["upstreams"].items() if one["state"] == "ejected"}
    total, eligible = pool["total"], pool["eligible"]
    if pool["panic"]:
        yield found(
            1,
            "bad",
            f"Pool {name} is in panic: none of its {_upstreams(total)} is well, so requests go to the "
            "ejected ones.",
            _common_todo(out)
            or "Look at the reason at each upstream: if all are alike, look at what they share.",
            pool=name,
            since=_first_since(out),
        )
    elif not eligible and not pool["on_backup"]:
        yield found(
            0,
            "bad",
            f"Pool {name} cannot serve: none of its {_upstreams(total)} may be used, so requests get 503."
            if total
            else f"Pool {name} has no upstreams: requests get 503.",
            _common_todo(pool["upstreams"]) or "Start replicas, or activate those in maintenance.",
            pool=name,
            since=_first_since(pool["upstreams"]),
        )
    elif 2 * eligible < total:
        yield found(
            4,
            "bad",
            f"Pool {name} has lost more than half: {eligible:,} of {total:,} upstreams may serve. "
            f"{in_words(ill(pool))}".rstrip(),
            _common_todo(out) or "Bring upstreams back before the others are overloaded.",
            pool=name,
            since=_first_since(out),
        )
    if pool["on_backup"]:
        yield found(
            5,
            "bad",
            f"Pool {name} is served by its backup upstreams: no other may be used.",
            _common_todo(out) or "See why the others may not serve.",
            pool=name,
        )
    if (overload := pool["overload"]) is not None:
        yield found(
            2,
            "bad",
            f"Pool {name} is overloaded: it serves {_rates(overload, pool['queue'])}.",
            "Add replicas, or reduce the load. The balancer refuses what the upstreams cannot serve in time.",
            pool=name,
            since=overload["since"],
        )
    elif pool["queue"]:
        yield found(
            20,
            "watch",
            f"{pool['queue']:,} requests of pool {name} wait for a slot: every upstream has as many as it "
            "may.",
            "If this lasts, add replicas.",
            pool=name,
        )
    yield from _of_upstreams(name, pool)
    for source, why in pool["problems"].items():
        yield found(
            15,
            "watch",
            f"{source} of pool {name} cannot be looked up: {why}. What was known before goes on serving.",
            "Look at the name server or the file; the balancer goes on asking.",
            pool=name,
        )


def _rates(overload: OverloadShape, waiting: int) -> str:
    """`402/s and refuses 798/s; 131 wait for a slot`."""
    text = f"{rate(overload['served'])}/s"
    if overload["refused"]:
        text += f" and refuses {rate(overload['refused'])}/s"
    if overload["left"]:
        text += f", and {rate(overload['left'])}/s were left waiting by their clients"
    return f"{text}; {waiting:,} wait for a slot" if waiting else text


_RANKS: Final[dict[str, int]] = {
    "ejected": 10,
    "unresolved": 11,
    STANDS_OUT: 11,
    "probation": 30,
    "draining": 40,
    "maintenance": 41,
    "unchecked": 45,
}
_STATES: Final[dict[str, str]] = {
    "ejected": "is out",
    "unresolved": "is out",
    STANDS_OUT: "stands out",
    "probation": "is on probation",
    "draining": "is draining",
    "maintenance": "is in maintenance",
    "unchecked": "has not been checked yet",
}
_MANY: Final[dict[str, str]] = {"unresolved": "without an address", STANDS_OUT: "unlike the others"}


def _of_upstreams(name: str, pool: PoolShape) -> Iterator[Found]:
    by_state: dict[str, list[tuple[str, UpstreamShape]]] = {}
    for id, one in pool["upstreams"].items():
        by_state.setdefault(STANDS_OUT if stands_out(one) else one["state"], []).append((id, one))
    for state, rank in _RANKS.items():
        those = by_state.get(state, ())
        for id, one in those[:NAMED]:
            why = f": {one['why']}" if one["why"] else ""
            yield found(
                rank,
                "watch",
                f"{id} of pool {name} {_STATES[state]}{why.rstrip('.')}. {_others(pool, one)}",
                one["todo"],
                pool=name,
                upstream=id,
                since=one["since"],
            )
        if len(those) > NAMED:
            more = len(those) - NAMED
            yield found(
                rank + 1,
                "watch",
                f"{more:,} more of pool {name}: {_MANY.get(state, state)}.",
                "See the list of its upstreams.",
                pool=name,
            )


def _others(pool: PoolShape, one: UpstreamShape) -> str:
    others = pool["eligible"] - one["eligible"]
    if pool["total"] == 1:
        return "It is the only one."
    if not others:
        return "No other may serve."
    return f"The other {_upstreams(others)} serve." if others > 1 else "One other serves."


def _common_todo(upstreams: Mapping[str, UpstreamShape]) -> str:
    """What is to be done, if it is the same for all."""
    remedies = {one["todo"] for one in upstreams.values()}
    return remedies.pop() if len(remedies) == 1 else ""


def _first_since(upstreams: Mapping[str, UpstreamShape]) -> str | None:
    return max((one["since"] for one in upstreams.values() if one["since"] is not None), default=None)


def stands_out(one: UpstreamShape) -> bool:
    """Whether an upstream that serves is unlike the others."""
    return one["state"] == "active" and bool(one["whose"])


def ill(pool: PoolShape) -> list[tuple[str, UpstreamShape]]:
    """The upstreams that are out, or stand out."""
    return [
        (id, one)
        for id, one in pool["upstreams"].items()
        if one["state"] in ("ejected", "unresolved") or stands_out(one)
    ]


def in_words(those: Sequence[tuple[str, UpstreamShape]]) -> str:
    """A sentence that names some; empty for none."""
    if not those:
        return ""
    named = []
    for id, one in those[:FEW]:
        state = STANDS_OUT if stands_out(one) else one["state"]
        named.append(f"{id} {_STATES[state]} ({one['why'].rstrip('.') or state})")
    if len(those) > FEW:
        named.append(f"{len(those) - FEW:,} more")
    return f"{', '.join(named)}."


def _upstreams(n: int) -> str:
    return f"{n:,} upstream" if n == 1 else f"{n:,} upstreams"
