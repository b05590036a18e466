"""The scenes: the request rate over time, and the replicas.

Four replicas that work on two requests of 20 ms at a time have a capacity of 400 requests a second.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.overload.behaviour import PLAIN, POLL, SLOW, STREAM, Behaviour
from loadtests.overload.stage import OverloadStage

REPLICAS = 4
SYNC = Behaviour()
ASYNC = Behaviour(at_once=0)
CAPACITY = 400.0  # requests per second of four SYNC ones
WARM = 4.0  # seconds of load before an overload
IMPATIENT = 2.0  # seconds: the clients' patience under overload
PATIENT = 20.0
ADJUSTED = 10.0  # seconds after a change of capacity until goodput counts
SETTLED = 3.0  # the same after the onset of the overload
ONE = (Sort(PLAIN),)


class Kind(StrEnum):
    """The aim for a balancer in a scene."""

    OVERLOAD = "overload"  # serve at capacity, refuse the rest
    FOLLOWS = "follows"  # the same while the capacity changes
    AWAY = "stays away"  # refuse and delay nothing


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the replicas, `at` seconds after the start of the load."""

    at: float
    act: Callable[[OverloadStage], None]


@dataclass(frozen=True, slots=True)
class Window:
    """The overload, in seconds after the start of the load; each second's goodput counts from `counts` on."""

    begins: float
    counts: float
    ends: float
    least: float  # the required goodput per second


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene. `replicas`: the initial behaviour of each."""

    name: str
    summary: str
    kind: Kind
    phases: Sequence[Phase]
    window: Window | None = None
    replicas: tuple[Behaviour, ...] = (SYNC,) * REPLICAS
    steps: Sequence[Step] = ()
    patience: float = IMPATIENT
    reuse: bool = True
    may_eject: bool = False  # replicas die
    p99: float | None = None  # seconds: the required p99 of served requests

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)


def overload(
    name: str,
    summary: str,
    rate: float,
    least: float,
    *,
    reuse: bool = True,
    replicas: Behaviour = SYNC,
    p99: float | None = None,
    patience: float = IMPATIENT,
    scale: float = 1.0,
) -> Scene:
    """300/s for 4 s, `rate` for 15 s, 200/s for 10 s; `scale` shortens the phases."""
    before, during, after = WARM * scale, 15.0 * scale, 10.0 * scale
    phases = [Phase(300, before, ONE), Phase(rate, during, ONE), Phase(200, after, ONE)]
    window = Window(before, before + SETTLED * scale, before + during, least)
    return Scene(
        name,
        summary,
        Kind.OVERLOAD,
        phases,
        window,
        (replicas,) * REPLICAS,
        patience=patience,
        reuse=reuse,
        p99=p99,
    )


def _follows(
    name: str,
    summary: str,
    capacity: float,
    *steps: Step,
    rate: float = 1200,
    warm: float = 300,
    adjusted: float = ADJUSTED,
    may_eject: bool = False,
) -> Scene:
    """`warm` requests a second for 4 s, then `rate`; the capacity changes at CHANGE to `capacity`."""
    phases = [Phase(warm, WARM, ONE), Phase(rate, _END - WARM, ONE)]
    least = 0.925 * min(capacity, rate)
    window = Window(WARM, CHANGE + adjusted, _END, least)
    return Scene(name, summary, Kind.FOLLOWS, phases, window, steps=steps, may_eject=may_eject)


CHANGE = 10.0  # seconds after the start of the load
_END = CHANGE + ADJUSTED + 5


def _all_are(behaviour: Behaviour) -> Step:
    def act(stage: OverloadStage) -> None:
        for number in range(REPLICAS):
            stage.tell(number, behaviour)

    return Step(CHANGE, act)


def _two_leave(at: float) -> Step:
    def act(stage: OverloadStage) -> None:
        for replica in stage.replicas[:2]:
            stage.end(replica, signal.SIGKILL)

    return Step(at, act)


def _two_return(stage: OverloadStage) -> None:
    for replica in stage.replicas[:2]:
        stage.start_again(replica)


def _away(
    name: str,
    summary: str,
    *phases: Phase,
    replicas: Sequence[Behaviour] = (SYNC,) * REPLICAS,
    steps: Sequence[Step] = (),
) -> Scene:
    return Scene(name, summary, Kind.AWAY, phases, None, tuple(replicas), steps, PATIENT)


_DEGRADED = replace(SYNC, service=0.2)
_POLLED = (Sort(PLAIN, 0.6), Sort(POLL, 0.2), Sort(STREAM, 0.2))
_BIMODAL = (Sort(PLAIN, 0.9), Sort(SLOW, 0.1))

SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        overload("threefold", "1,200 requests/s, three times the capacity", 1200, 370, p99=1.0),
        overload(
            "threefold-noticed",
            "the same, and replicas skip requests whose clients have left",
            1200,
            370,
            replicas=replace(SYNC, notices=True),
            p99=1.0,
        ),
        overload(
            "threefold-impatient",
            "threefold, and clients leave after 0.3 s",
            1200,
            370,
            p99=1.0,
            patience=0.3,
        ),
        overload("tenfold", "4,000 requests/s", 4000, 350),
        overload("tenfold-anew", "4,000 requests/s, each on its own connection", 4000, 350, reuse=False),
        _follows(
            "capacity-halves",
            "each replica works on one request at a time from second 10 on",
            CAPACITY / 2,
            _all_are(replace(SYNC, at_once=1)),
        ),
        _follows(
            "capacity-halves-unsaid",
            "the same at 300 requests/s, without a limit before",
            CAPACITY / 2,
            _all_are(replace(SYNC, at_once=1)),
            rate=300,
            adjusted=13.0,  # the limit is found sooner, and then the backlogs are worked off, as wasted work
            may_eject=True,  # its checks wait there too, while no request is answered
        ),
        _follows(
            "capacity-doubles",
            "each replica works on four requests at a time from second 10 on",
            CAPACITY * 2,
            _all_are(replace(SYNC, at_once=4)),
        ),
        _follows(
            "work-slows",
            "a request takes 40 ms of work from second 10 on",
            CAPACITY / 2,
            _all_are(replace(SYNC, service=0.04)),
        ),
        _follows(
            "replicas-halve",
            "two replicas are killed in second 10",
            CAPACITY / 2,
            _two_leave(CHANGE),
            may_eject=True,
        ),
        _follows(
            "replicas-double",
            "two replicas are killed at first, after 150 requests/s, and return in second 10",
            CAPACITY,
            _two_leave(0.5),
            Step(CHANGE, _two_return),
            warm=150,
            may_eject=True,
        ),
        _follows(
            "one-degrades",
            "a request takes 200 ms of one replica's work from second 10 on, 250 requests/s",
            250,
            Step(CHANGE, lambda stage: stage.tell(0, _DEGRADED)),
            rate=250,
        ),
        _away(
            "async-app",
            "4,000 requests/s that each take 500 ms of an async app: 2,000 in flight",
            *[Phase(rate, 1, ONE) for rate in (1000, 2000, 3000)],
            Phase(4000, 7, ONE),
            replicas=[replace(ASYNC, service=0.5)] * REPLICAS,
        ),
        _away(
            "long-polling",
            "200 requests/s, a fifth long polls and a fifth streams, of 3 s each",
            Phase(200, 15, _POLLED),
        ),
        _away(
            "bimodal",
            "300 requests/s to an async app, nine in ten take 5 ms, the others 2 s",
            Phase(300, 15, _BIMODAL),
            replicas=[replace(ASYNC, service=0.005)] * REPLICAS,
        ),
        _away(
            "cold-cache",
            "80 requests/s that take 80 ms for the first 15 s, then 20 ms",
            Phase(80, 22, ONE),
            replicas=[replace(SYNC, service=0.08)] * REPLICAS,
            steps=[replace(_all_are(SYNC), at=15.0)],
        ),
        _away(
            "app-slows",
            "200 requests/s to an async app that take 100 ms for 10 s, then 1 s",
            Phase(200, 20, ONE),
            replicas=[replace(ASYNC, service=0.1)] * REPLICAS,
            steps=[_all_are(replace(ASYNC, service=1.0))],
        ),
        _away(
            "burst",
            "2 requests/s, and three bursts of 300",
            Phase(2, 4, ONE),
            *[Phase(2, 4, ONE, burst=300)] * 3,
        ),
        _away(
            "pauses",
            "200 requests/s; each replica stops for 200 ms every 2 s",
            Phase(200, 15, ONE),
            replicas=[replace(SYNC, pause=0.2, pause_every=2.0)] * REPLICAS,
        ),
        _away(
            "unequal",
            "200 requests/s for replicas that take 10, 20, 40 and 80 ms",
            Phase(200, 15, ONE),
            replicas=[replace(SYNC, service=one) for one in (0.01, 0.02, 0.04, 0.08)],
        ),
        _away("trickle", "2 requests/s", Phase(2, 15, ONE)),
    )
}
