"""The figures of one run: good clients before and during the attack, and the balancer's memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.hostile.attacks import ATTACKS, WORK_SECONDS
from loadtests.open_loop.figures import Latency, latency
from loadtests.open_loop.records import Kind, Record

MOST_P99 = 0.020  # seconds: the bound on good clients' p99 during an attack, and twice the app's service time


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident KiB of the balancer's process tree: before the attack, at most during it, and after it."""

    before: int
    peak: int
    after: int


@dataclass(frozen=True, slots=True)
class Run:
    """One attack on one balancer. `attacker` is its own report; `lag` the load's own lateness (p99);
    `replaced` whether a process of the balancer has ended; `unready` how many probes of `/readyz` failed.
    """

    attack: str
    balancer: str
    requests: int
    failures: Counter[str]
    before: Latency
    during: Latency
    lag: float
    memory: Memory
    connections: int
    attacker: str
    replaced: bool
    unready: int = 0

    @property
    def kib_each(self) -> float:
        """The balancer's growth in KiB per connection of the attack."""
        return max(0, self.memory.peak - self.memory.before) / self.connections


@dataclass(frozen=True, slots=True)
class Window:
    """The times of the undisturbed load and of the attack, by the monotonic clock."""

    calm: float
    onset: float
    end: float


def seen(records: Sequence[Record], window: Window) -> tuple[int, Counter[str], Latency, Latency, float]:
    """Good requests during the attack, their failures, latencies before and during it, and the load's lag."""
    before = [one for one in records if window.calm <= one.begun < window.onset]
    during = [one for one in records if window.onset <= one.begun < window.end]
    failures = Counter(one.failure for one in during if one.kind is not Kind.OK)
    lag = latency([one.lag for one in during]).p99
    return (
        len(during),
        failures,
        latency([one.took for one in before]),
        latency([one.took for one in during]),
        lag,
    )


def broken_promises(runs: Sequence[Run], ours: str) -> list[str]:
    """A sentence for each broken bound of our balancer."""
    found = []
    for run in runs:
        if run.balancer != ours:
            continue
        if run.failures:
            found.append(f"{run.attack}: {run.failures.total()} good requests failed")
        if run.replaced:
            found.append(f"{run.attack}: a worker has ended")
        if run.unready:
            found.append(f"{run.attack}: {run.unready} probes of /readyz failed")
        most = MOST_P99 + (2 * WORK_SECONDS if ATTACKS[run.attack].places else 0.0)
        if run.during.p99 > most + run.lag:
            found.append(f"{run.attack}: good p99 {run.during.p99 * 1e3:.0f} ms, more than {most * 1e3:.0f}")
    return found
