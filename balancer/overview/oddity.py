"""Which upstreams of a pool are unlike the others (L5): replicas that are ill, and serve nonetheless. Pure.

They are told apart by what they have answered in the same ten seconds, so load that all of them feel names
nobody. Times are those of the upstream alone: the balancer's own, and waits for a slot, are not in them.
"""

from collections.abc import Mapping
from statistics import median_low
from typing import Final

from balancer.overview.figures import Rates
from balancer.overview.timeline import Key

LEAST: Final = 30  # requests of an upstream in ten seconds: fewer prove nothing
SLOWER: Final = 3.0  # times the p95 of most
LATER: Final = 50.0  # ms, and more than that of most by so much
FAILING: Final = 0.05  # of its requests
MORE: Final = 3.0  # times the share of the others


def standing_out(rates: Mapping[str, Rates]) -> dict[str, str]:
    """Why, by upstream: `its p95 is 840 ms, that of most others 21 ms`. `rates` are of upstreams that may
    serve."""
    known = {id: one for id, one in rates.items() if one.n >= LEAST}
    if len(known) < 2:
        return {}
    requests = sum(one.n for one in known.values())
    errors = sum(_errors(one) for one in known.values())
    latencies = [one.p95 for one in known.values() if one.p95 is not None]
    usual = median_low(latencies) if len(latencies) > 1 else None
    found = {}
    for id, one in known.items():
        others = (errors - _errors(one)) / (requests - one.n)
        if one.errors is not None and one.errors >= max(FAILING, MORE * others):
            failed = f"{one.errors:.0%} of its {one.n:,} requests failed in 10 s"
            found[id] = f"{failed}, of the others' {others:.1%}"
        elif usual is not None and one.p95 is not None and one.p95 >= max(usual + LATER, SLOWER * usual):
            found[id] = f"its p95 is {_ms(one.p95)}, that of most others {_ms(usual)}"
    return found


def _errors(one: Rates) -> float:
    return (one.errors or 0.0) * one.n


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


class Oddities:
    """Since when each of them has stood out, and why. As seen every ten seconds."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, str]] = {}

    def see(self, now: float, found: Mapping[Key, str]) -> None:
        """Those that stand out now, in seconds since the epoch. The others are forgotten."""
        self._known = {
            key: (self._known[key][0] if key in self._known else now, why) for key, why in found.items()
        }

    def of(self, key: Key) -> tuple[float, str] | None:
        """None if it is like the others."""
        return self._known.get(key)
