"""Scenes drawn at random, for cases that nobody thought of: `python -m tests.sim.at_random --help`.

Async apps that work on all requests at once, with changing traffic and latency: no request may be refused.
And replicas with a backlog, under an overload: they must be used to capacity.
"""

import argparse
from random import Random

from tests.sim.arrivals import Open
from tests.sim.clients import waits
from tests.sim.figures import End
from tests.sim.replicas import UNLIMITED, Replica, Service, spreads, takes
from tests.sim.scenes import Fleet, Happening, Scene, play

_BEGINS, _LASTS, _SETTLED = 8, 30, 10  # of the overload, in seconds
_SERVED = 0.85  # of the capacity
_MOST = 4000.0  # requests a second


def _become(at: float, slowness: float) -> Happening:
    def happens(replicas: list[Replica]) -> None:
        for one in replicas:
            one.change(slowness=slowness)

    return at, happens  # type: ignore[return-value]  # a list is a sequence


def async_app(seed: int) -> tuple[Scene, str]:
    """Three to six phases, each with its rate; in most of them the app becomes slower or faster."""
    random = Random(seed)
    replicas, mean = random.choice([1, 2, 4]), 10 ** random.uniform(-2.3, 0.3)
    spread = random.choice([0.1, 0.5, 1.0, 2.0])
    rate = min(10 ** random.uniform(1, 3.2), 2000)
    phases: list[tuple[float, float]] = []
    happenings: list[Happening] = []
    now = 0.0
    for _ in range(random.randint(3, 6)):
        seconds = random.uniform(3, 10)
        phases.append((seconds, rate * 10 ** random.uniform(-1, 0.3)))
        if random.random() < 0.6:
            slowness = 10 ** random.uniform(-0.5, 1.3)
            if random.random() < 0.5:
                happenings.append(_become(now + random.uniform(0, seconds), slowness))
            else:
                begin, lasts = now + random.uniform(0, seconds), random.uniform(0.5, 5)
                happenings += [
                    _become(begin + lasts * step / 10, 1 + (slowness - 1) * step / 10)
                    for step in range(1, 11)
                ]
        now += seconds
    fleet = Fleet(replicas=replicas, at_once=UNLIMITED, service=spreads(mean, spread), checked=False)
    scene = Scene(now + 5, [Open(tuple(phases))], fleet, happenings=happenings)
    summary = f"{replicas} replicas, {mean:.3f} s (spread {spread}), about {rate:.0f}/s"
    return scene.having(workers=random.choice([1, 1, 2])), summary


def overload(seed: int) -> tuple[Scene, str, float]:
    """8 s at capacity, 30 s of overload, 8 s of light load. Also returns the capacity per second."""
    random = Random(seed + 1000)
    replicas, mean = random.choice([1, 2, 4]), 10 ** random.uniform(-2.3, -0.2)
    spread = random.choice([0.0, 0.2, 0.5, 1.0])
    at_once = random.choice([1, 2, 4, 8, 16, 32])
    while replicas * at_once / mean > 1200:
        mean *= 2
    capacity = replicas * at_once / mean
    times = max(1.3, min(random.choice([1.3, 1.5, 2, 3, 5, 10]), _MOST / capacity))
    warm = random.uniform(0.2, 0.9)
    patience = max(random.choice([0.3, 0.5, 1, 2, 5, 30]), 8 * mean)
    workers = random.choice([1, 1, 2, 4])
    service: Service = spreads(mean, spread) if spread else takes(mean)
    fleet = Fleet(
        replicas=replicas, at_once=at_once, service=service, notices=random.random() < 0.3, checked=False
    )
    phases = ((_BEGINS, warm * capacity), (_LASTS, times * capacity), (8.0, 0.3 * capacity))
    summary = (
        f"{replicas} replicas do {at_once} of {mean:.3f} s at once (spread {spread}), {capacity:.0f}/s; "
        f"{times:.1f} times that, clients leave after {patience:.1f} s, {workers} workers"
    )
    scene = Scene(_BEGINS + _LASTS + 8, [Open(phases, waits(patience))], fleet)
    return scene.having(workers=workers), summary, capacity


def main() -> None:
    """Print what went wrong, and how often."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.at_random", description=__doc__)
    parser.add_argument("--plays", type=int, default=120, help="of each kind (120)")
    plays = parser.parse_args().plays
    refused_some = 0
    for seed in range(plays):
        scene, summary = async_app(seed)
        came = play(scene, seed).came(0.0, scene.seconds)
        if came[End.REFUSED]:
            refused_some += 1
            print(f"async app {seed}: {came[End.REFUSED]} of {came.total()} refused: {summary}", flush=True)
    too_little, share = 0, 0.0
    for seed in range(plays):
        scene, summary, capacity = overload(seed)
        goodput = play(scene, seed).goodput(_BEGINS + _SETTLED, _BEGINS + _LASTS)
        served = sum(goodput) / len(goodput) / capacity
        share += served
        if served < _SERVED:
            too_little += 1
            print(f"overload {seed}: {served:.0%} of what can be done is served: {summary}", flush=True)
    print(f"async apps: in {refused_some} of {plays} plays some were refused")
    print(
        f"overload: {share / plays:.1%} of what can be done is served from {_SETTLED} s on; "
        f"under {_SERVED:.0%} in {too_little} of {plays} plays"
    )


if __name__ == "__main__":
    main()
