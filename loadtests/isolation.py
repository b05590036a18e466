"""Whether a pool that hangs, at three times its load, is noticed by the clients of another pool.

    python -m loadtests.isolation [--rounds 8] [--seconds 8] [--workers 1] [--rate 200] [--real-time]

Two pools of two app replicas each, that take 20 ms for a request, behind one balancer with default settings.
In each round pool B has the same load twice: beside a healthy pool A with as much load, and beside one whose
replicas accept everything and answer nothing, checks included, while three times as many clients come, each
on a connection of its own, and wait for 5 s. Requests are sent at their planned times, whatever happens to
earlier ones. The balancer has a core of its own, if there are two. With --real-time, for root, the balancer
goes before pool B's replicas and clients, these before pool A's, and all before the machine's other programs:
then what is measured is the balancer, and not how busy the machine is.

Exits 1 if any of B's requests failed, if the load could not keep its rate, or if B's p99 beside the hung pool
is longer by more than 10 % and more than 2 ms: in the best round, as a busy machine only adds time.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from json import load
from pathlib import Path

from loadtests import command, proxies
from loadtests.arguments import number
from loadtests.balancers import OURS, Balancer
from loadtests.errors import BenchError
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.figures import MAX_LAG, latency
from loadtests.open_loop.order import BEGINS, Order
from loadtests.open_loop.records import Kind, Record
from loadtests.overload.behaviour import Behaviour
from loadtests.overload.stage import OverloadStage
from loadtests.processes import Processes
from loadtests.proxies import Launch

A, B = "/a/", "/b/"  # paths, by which the route is chosen
REPLICAS = 2  # of each pool
HEALTHY = Behaviour(at_once=0, service=0.02)
HUNG = Behaviour(at_once=0, service=3600.0)
TIMES = 3  # the load of a hung pool
PATIENCE = 5.0  # seconds that a client waits
SHARE, SECONDS = 0.1, 0.002  # what B's p99 may differ by, whichever is more
GRACE = 30.0  # seconds beyond a load's own duration after which it has failed
RECOVERY = 60.0  # seconds for pool A


@dataclass(frozen=True, slots=True)
class Seen:
    """What clients of a pool saw in one half of a round. Seconds; `failures` by kind; `lag` is the p99."""

    requests: int
    p50: float
    p99: float
    failures: Counter[str]
    lag: float


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a round."""

    a: Seen
    b: Seen


@dataclass(frozen=True, slots=True)
class Round:
    """Pool B beside a healthy pool A, and beside a hung one."""

    healthy: Half
    hung: Half

    @property
    def is_valid(self) -> bool:
        """The load has kept its rate."""
        return max(seen.lag for half in (self.healthy, self.hung) for seen in (half.a, half.b)) <= MAX_LAG


def seen(found: Sequence[Record]) -> Seen:
    """Figures of clients' records."""
    took = latency([one.took for one in found])
    failures = Counter(one.failure for one in found if one.kind is not Kind.OK)
    return Seen(len(found), took.p50, took.p99, failures, latency([one.lag for one in found]).p99)


def missed(rounds: Sequence[Round]) -> list[str]:
    """A sentence for each bar that was missed."""
    found = []
    halves = [half for one in rounds for half in (one.healthy, one.hung)]
    if not any(one.is_valid for one in rounds):
        return ["invalid, as the load was late in each round: repeat it when the machine is less busy"]
    failures = sum((half.b.failures for half in halves), Counter[str]())
    if failures:
        found.append(f"requests to B failed: {_words(failures)}")
    before, beside = best(rounds)
    if beside - before > max(SHARE * before, SECONDS):
        found.append(f"B's p99 is {beside * 1e3:.1f} ms beside a hung pool, {before * 1e3:.1f} ms otherwise")
    return found


def best(rounds: Sequence[Round]) -> tuple[float, float]:
    """B's p99 beside a healthy and beside a hung pool, each in its best valid round."""
    valid = [one for one in rounds if one.is_valid]
    return min(one.healthy.b.p99 for one in valid), min(one.hung.b.p99 for one in valid)


def _words(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(failures.items())) or "none"


def share_cores(workers: int) -> list[int]:
    """The balancer's cores, one for each worker as far as one is left for the rest: all processes that are
    started from here on."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        return cores
    own = cores[: min(workers, len(cores) - 1)]
    os.sched_setaffinity(0, set(cores) - set(own))
    return own


class Isolation:
    """The processes of all rounds."""

    def __init__(self, processes: Processes, directory: Path, options: argparse.Namespace) -> None:
        self._processes = processes
        self._directory = directory
        self._options = options
        self._loads = 0
        self._cores = share_cores(options.workers)
        self._stage = OverloadStage(processes, directory, [HEALTHY] * (2 * REPLICAS))
        self._stage.start(Balancer(OURS, "", "", self._launch))
        for replica in self._stage.replicas[REPLICAS:]:
            self._first(replica.pid)

    def _launch(self, _directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
        settings = {
            "POOLS__A__UPSTREAMS": ",".join(upstreams[:REPLICAS]),
            "POOLS__B__UPSTREAMS": ",".join(upstreams[REPLICAS:]),
            "ROUTES": f"{A}=a, /=b",
            "WORKERS": str(self._options.workers),
        }
        launch = proxies.balancer(port, spare, [], **settings)
        cores = ",".join(map(str, self._cores))
        first = ["chrt", "--rr", "3"] if self._options.real_time else []
        return Launch([*first, "taskset", "--cpu-list", cores, *launch.argv], launch.environment)

    def _first(self, pid: int) -> None:
        """A process of pool B goes before those of pool A."""
        if self._options.real_time:
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(2))

    def round(self) -> Round:
        """One round, from a healthy pool A to a healthy pool A."""
        healthy = self._half(1)
        self._tell(HUNG)
        hung = self._half(TIMES)
        self._tell(HEALTHY)
        self._recover()
        return Round(healthy, hung)

    def _tell(self, behaviour: Behaviour) -> None:
        for replica in range(REPLICAS):
            self._stage.tell(replica, behaviour)

    def _half(self, times: int) -> Half:
        rate, seconds = self._options.rate, self._options.seconds
        loads = [self._load(A, rate * times, seconds), self._load(B, rate, seconds)]
        for name, pid, _ in loads:
            self._processes.wait(name, pid, seconds + PATIENCE + GRACE)
        self._processes.require_running(OURS, self._stage.balancer_pid)
        a, b = (seen(records.read(file)) for _, _, file in loads)
        return Half(a, b)

    def _load(self, path: str, rate: float, seconds: float) -> tuple[str, int, Path]:
        self._loads += 1
        name = f"load{self._loads}"
        file = self._directory / f"{name}.records"
        order = Order(
            self._stage.port,
            [Phase(rate, seconds, (Sort(path),))],
            PATIENCE,
            self._loads,
            file,
            reuse=path == B,
        )
        pid = self._processes.start(name, order.command, None)
        if path == B:
            self._first(pid)
        self._processes.wait_for_line(name, pid, BEGINS)
        return name, pid, file

    def _recover(self) -> None:
        """Wait until nothing is left of the trouble."""
        deadline = time.monotonic() + RECOVERY
        while not self._is_well():
            if time.monotonic() > deadline:
                raise BenchError(f"pool A did not recover within {RECOVERY:.0f} s")
            time.sleep(0.1)

    def _is_well(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._stage.spare, timeout=5)
        connection.request("GET", "/api/pools/a")
        with connection.getresponse() as response:
            pool = load(response)
        connection.close()
        upstreams = pool["upstreams"]
        quiet = not any(one["inflight"] for one in upstreams)
        return pool["eligible"] == REPLICAS and pool["overload"] is None and quiet


def measure(options: argparse.Namespace) -> list[Round]:
    """All rounds, each printed as it ends."""
    rounds: list[Round] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-isolation-")))
        isolation = Isolation(stack.enter_context(Processes(directory)), directory, options)
        for _ in range(options.rounds):
            rounds.append(one := isolation.round())
            _print(f"round {len(rounds)}", one)
    return rounds


def _print(name: str, one: Round) -> None:
    for beside, half in (("healthy", one.healthy), ("hung", one.hung)):
        b, a = half.b, half.a
        print(
            f"{name}, A {beside}: B p50 {b.p50 * 1e3:.1f} ms, p99 {b.p99 * 1e3:.1f} ms, "
            f"{b.requests:,} requests, failures: {_words(b.failures)}; "
            f"A {a.requests:,} requests, failures: {_words(a.failures)}",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.isolation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=number(1, 50), default=8, help="rounds (8)")
    parser.add_argument("--seconds", type=number(1, 600), default=8, help="seconds of load in each half (8)")
    parser.add_argument("--workers", type=number(1, 64), default=1, help="WORKERS (1)")
    parser.add_argument("--rate", type=number(1, 10_000), default=200, help="requests a second to B (200)")
    parser.add_argument("--real-time", action="store_true", help="before all other programs; for root only")
    options = parser.parse_args(arguments)
    if options.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    return command.run("isolation", lambda: _judge(measure(options), options.real_time))


def _judge(rounds: Sequence[Round], real_time: bool) -> int:
    sentences = missed(rounds)
    if any(one.is_valid for one in rounds):
        before, beside = best(rounds)
        print(
            f"B's p99 in the best of {len(rounds)} rounds: {before * 1e3:.1f} ms beside a healthy pool, "
            f"{beside * 1e3:.1f} ms beside a hung one"
        )
    for sentence in sentences:
        print(sentence)
    if sentences and not real_time:
        print("If other programs were running: root can go before them with --real-time.")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
