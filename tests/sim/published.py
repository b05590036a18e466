"""Compare published algorithms with the product's own, in two tables: python -m tests.sim.published"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import NamedTuple, TypeAlias

from tests.sim.arrivals import Open
from tests.sim.clients import waits
from tests.sim.figures import End, Figures, least
from tests.sim.published_limits import EnvoyGradient, Gradient2, MakeLimit, Vegas, envoys_example
from tests.sim.published_queues import CoDel, Dagor, FacebooksCoDel
from tests.sim.replicas import Replica
from tests.sim.scenes import Fleet, Scene, play, surge
from tests.sim.test_stays_out_of_the_way import ASYNC, SCENES

Changes: TypeAlias = Mapping[str, object]  # of settings, by name

LIMITS: dict[str, MakeLimit] = {
    "Gradient2": Gradient2,
    "Vegas": Vegas,
    "Envoy": EnvoyGradient,
    "Envoy's example": envoys_example,
}
# As published: a request without a free slot is refused at once.
FOUND: dict[str, Changes] = {
    "ours": {},
    **{name: {"limit": limit, "queue_size": 0} for name, limit in LIMITS.items()},
    **{f"{name}, our queue": {"limit": limit} for name, limit in LIMITS.items()},
}
_TWO = {"max_inflight": 2, "adaptive": False}
BY_HAND: dict[str, Changes] = {
    "limit 2, our queue": _TWO,
    "limit 2, CoDel": {**_TWO, "queue": CoDel},
    "limit 2, Facebook's CoDel": {**_TWO, "queue": FacebooksCoDel},
    "limit 2, DAGOR": {**_TWO, "queue": Dagor},
}
_FREE: Changes = {"adaptive": False}


def _halves(replicas: Sequence[Replica]) -> None:
    for one in replicas:
        one.change(at_once=2)


class Overload(NamedTuple):
    """A scene with an overload; whether its replicas work on two requests at a time throughout; from when and
    until when its worst second counts, in seconds."""

    scene: Scene
    two: bool
    counts: int
    ends: int


_HALVED = Scene(
    40.0,
    [Open(((5.0, 600.0), (25.0, 2000.0), (10.0, 200.0)), waits(2.0))],
    Fleet(at_once=4),
    happenings=[(15.0, _halves)],
)
OVERLOADS = {
    "x3": Overload(surge(3.0), True, 7, 19),
    "x10": Overload(surge(10.0), True, 7, 19),
    "halves": Overload(_HALVED, False, 25, 30),
}
# Some are longer than in the tests, so that every algorithm has had time to learn.
CALM = {
    "2,000 in flight": Scene(21.0, [Open(((20.0, 4000.0),))], ASYNC),
    "all of a sudden": Scene(21.0, [Open(((12.0, 100.0), (8.0, 4000.0)))], ASYNC),
    "200 in flight, long": Scene(121.0, [Open(((120.0, 400.0),))], ASYNC),
    "long polling": SCENES["long polling beside quick requests"],
    "bimodal": SCENES["bimodal without a route to tell"],
    "cold cache": SCENES["a cold cache makes the first minute four times slower"],
    "burst": SCENES["a burst of 300 onto a pool with little to do"],
    "pauses": SCENES["pauses of 200 ms, one replica after another"],
    "unequal": SCENES["replicas of unequal speed"],
    "2/s": SCENES["two requests a second"],
}
_LEARNED = 10.0  # seconds


def _play(scene: Scene, changes: Changes, seeds: Sequence[int]) -> list[Figures]:
    settings = replace(scene.settings, **changes)  # type: ignore[arg-type]  # by name
    return [play(replace(scene, settings=settings), seed) for seed in seeds]


def _overload(one: Overload, changes: Changes, seeds: Sequence[int]) -> str:
    if "max_inflight" in changes and not one.two:
        return "-"
    played = _play(one.scene, changes, seeds)
    worst = min(least(figures.goodput(one.counts, one.ends)) for figures in played)
    p99 = max(figures.latency(0.99, 4.0) for figures in played)
    beside = ((0.0, 3.0), (one.ends + 1.0, one.scene.seconds - 1.0))
    ends = [figures.came(*times) for figures in played for times in beside]
    failed = sum(one.total() - one[End.SERVED] for one in ends)
    return f"{worst}/s, {p99 * 1e3:.0f} ms, {failed}"


def _calm(scene: Scene, changes: Changes, free: float, seeds: Sequence[int]) -> str:
    played = _play(scene, changes, seeds)
    if not any(figures.reasons() for figures in played):
        later = _mean_ms(played) - free
        return "0" if later < 1 else f"0, {later:+.0f} ms"
    shares = []
    for begin in (0.0, _LEARNED):
        ends = [figures.came(begin, scene.seconds) for figures in played]
        shares.append(sum(one[End.REFUSED] for one in ends) / sum(one.total() for one in ends))
    return f"{shares[0]:.1%} ({shares[1]:.1%})"


def _mean_ms(played: Sequence[Figures]) -> float:
    return 1e3 * mean(one.took for figures in played for one in figures.records if one.end is End.SERVED)


def _line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.published", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="plays of each (default 1, some 50 seconds)")
    parser.add_argument("--only", default="", help="whose name contains this")
    options = parser.parse_args(arguments)
    seeds = range(1, options.seeds + 1)
    limits = {name: changes for name, changes in FOUND.items() if options.only in name}
    by_hand = {name: changes for name, changes in BY_HAND.items() if options.only in name}

    print("Goodput of the worst second, p99 of the served, failures before and after the overload:\n")
    _line("", *OVERLOADS)
    for name, changes in {**limits, **by_hand, "no limit": _FREE}.items():
        _line(name, *(_overload(one, changes, seeds) for one in OVERLOADS.values()))

    print("\nRefused of all (of those after 10 s); by how much the mean is later than without a limit:\n")
    _line("", *CALM)
    free = {name: _mean_ms(_play(scene, _FREE, seeds)) for name, scene in CALM.items()}
    for name, changes in limits.items():
        _line(name, *(_calm(scene, changes, free[key], seeds) for key, scene in CALM.items()))
    for name, changes in by_hand.items():
        cells = {key: _calm(CALM[key], changes, free[key], seeds) for key in ("burst", "pauses")}
        _line(name, *(cells.get(key, "-") for key in CALM))


if __name__ == "__main__":
    main(sys.argv[1:])
