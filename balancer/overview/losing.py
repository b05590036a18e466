"""How many upstreams a pool can lose (L5): by today's load, against what the others have been seen to
serve."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from balancer.overview.shape import CanLoseShape
from balancer.overview.timeline import Key

SLICE: Final = 60.0  # seconds; the best ten seconds of each slice are kept
SLICES: Final = 30
LEAST_LOAD: Final = 1.0  # requests/s; below it nothing is asked of anyone


class Served:
    """The most that each upstream has served in ten seconds of the last thirty minutes, per second. Samples
    of a pool that is overloaded do not count: what is served at the price of refusals is no proof."""

    def __init__(self) -> None:
        self._slices: deque[tuple[float, dict[Key, float]]] = deque(maxlen=SLICES)

    def see(self, now: float, rps: Mapping[Key, float]) -> None:
        """The present rates of those whose pool is not overloaded; `now` in seconds on a monotonic clock."""
        if not self._slices or now - self._slices[-1][0] >= SLICE:
            self._slices.append((now, {}))
        best = self._slices[-1][1]
        for key, rate in rps.items():
            if rate > best.get(key, 0.0):
                best[key] = rate

    def most(self, key: Key) -> float:
        """Requests per second, 0.0 if it has served nothing."""
        return max((best.get(key, 0.0) for _, best in self._slices), default=0.0)


def can_lose(load: float, most: Sequence[float], overloaded: bool) -> CanLoseShape:
    """`load` is the pool's present one, `most` what each eligible upstream has served at most, both per
    second."""
    of = len(most)
    n, text = _judged(load, sorted(most), overloaded)
    return {"n": n, "of": of, "text": text}


def _judged(load: float, most: Sequence[float], overloaded: bool) -> tuple[int | None, str]:
    of = len(most)
    if of == 0:
        return 0, "none is left to lose"
    if of == 1:
        return 0, "cannot lose its only upstream"
    if overloaded:
        return 0, f"can lose none of {of}: it is overloaded"
    if load < LEAST_LOAD:
        return None, "not known: there is no load to judge by"
    n = 0
    while n + 1 < of and sum(most[: of - n - 1]) >= load:  # those that have shown least are left
        n += 1
    if n:
        return n, f"can lose {n} of {of}"
    asked, shown = load / (of - 1), most[-1]
    return None, (
        f"not known: without one, each other would get {_rate(asked)}, and none has served more than "
        f"{_rate(shown)}"
    )


def _rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second < 10 else f"{per_second:,.0f}/s"


def shares(values: Iterable[float]) -> list[float | None]:
    """Each value as a share of all, 0 to 1; None if they are nothing together."""
    given = list(values)
    total = sum(given)
    return [round(one / total, 4) if total else None for one in given]
