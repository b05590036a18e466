"""The figures of a run, from clients' records."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from loadtests.open_loop.figures import MAX_LAG, Latency, latency
from loadtests.open_loop.records import Kind, Record
from loadtests.overload.scenes import Kind as Group
from loadtests.overload.scenes import Scene, Window

REFUSED = 503
LAST = 5  # seconds at the end of the overload, for the mean goodput
MIXED = 0.1  # of the requests not served: if more were not refused at once, the cost of a refusal is unknown


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of the balancer's processes: `idle` a second, `before` the overload, and `during` it."""

    idle: float
    before: float
    during: float


@dataclass(frozen=True, slots=True)
class Goodput:
    """Responses of 200 within the clients' patience, per second: `least` is the worst second that counts."""

    least: int
    last: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Times in seconds.

    `by_second` is the goodput of each second of the load. `warm` is the number of served requests before the
    overload, and of all. `recovery` is when the last failed request after the overload was begun, counted
    from its end: 0 if none failed. `ejections` is None if unknown.
    """

    scene: str
    balancer: str
    requests: int
    warm: tuple[int, int] | None
    by_second: tuple[int, ...]
    goodput: Goodput | None
    refused: int
    timeouts: int
    others: Counter[str]
    served: Latency
    recovery: float | None
    ejections: int | None
    cpu_served: float | None
    cpu_refused: float | None
    lag: float

    @property
    def is_valid(self) -> bool:
        """Whether the load kept its rate."""
        return self.lag <= MAX_LAG


def measure(
    scene: Scene, balancer: str, records: Sequence[Record], start: float, ejections: int | None, cpu: Cpu
) -> Run:
    """The figures of one run; `start` is when the load began, by the monotonic clock."""
    good = [one for one in records if one.kind is Kind.OK]
    failed = [one for one in records if one.kind is not Kind.OK]
    by_second = Counter(int(one.ended - start) for one in good)
    seconds = tuple(by_second[second] for second in range(ceil(scene.seconds)))
    window = scene.window
    if window is None:
        during, warm, goodput, recovery = records, None, None, None
    else:
        begins, ends = start + window.begins, start + window.ends
        during = [one for one in records if begins <= one.ended and one.begun < ends]
        before = [one for one in records if one.begun < begins]
        warm = sum(one.kind is Kind.OK for one in before), len(before)
        goodput = _goodput(seconds, window)
        recovery = max((one.begun - ends for one in failed if one.begun >= ends), default=0.0)
    cpu_served, cpu_refused = _costs(scene, during, warm, cpu)
    return Run(
        scene.name,
        balancer,
        requests=len(records),
        warm=warm,
        by_second=seconds,
        goodput=goodput,
        refused=sum(one.status == REFUSED for one in failed),
        timeouts=sum(one.kind is Kind.TIMEOUT for one in failed),
        others=Counter(
            one.failure for one in failed if one.status != REFUSED and one.kind is not Kind.TIMEOUT
        ),
        served=latency([one.took for one in during if one.kind is Kind.OK]),
        recovery=recovery,
        ejections=ejections,
        cpu_served=cpu_served,
        cpu_refused=cpu_refused,
        lag=latency([one.lag for one in records]).p99,
    )


def _goodput(seconds: Sequence[int], window: Window) -> Goodput:
    ends = int(window.ends)
    counting = seconds[ceil(window.counts) : ends]
    last = seconds[max(ceil(window.begins), ends - LAST) : ends]
    return Goodput(min(counting), sum(last) / len(last))


def _costs(
    scene: Scene, during: Sequence[Record], warm: tuple[int, int] | None, cpu: Cpu
) -> tuple[float | None, float | None]:
    """CPU seconds per request served and refused; None if unknown.

    The cost of a served request is measured before the overload, when nothing else happened; the rest of the
    overload's CPU time is divided by the refused requests.
    """
    window = scene.window
    if warm is None or window is None or not warm[0]:
        return None, None
    served = (cpu.before - cpu.idle * window.begins) / warm[0]
    good = sum(one.kind is Kind.OK for one in during)
    refused = sum(one.status == REFUSED for one in during)
    if scene.kind is not Group.OVERLOAD or not refused or (len(during) - good - refused) > MIXED * refused:
        return served, None
    left = cpu.during - cpu.idle * (window.ends - window.begins) - good * served
    return served, max(0.0, left) / refused
