"""One run: start the processes and the good load, attack, and take the figures."""

import http.client
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests.cpu import running_tree
from loadtests.hostile.attacks import WORK, Attack, Target
from loadtests.hostile.balancers import balancer
from loadtests.hostile.figures import Memory, Run, Window, seen
from loadtests.hostile.stage import REPLICAS, HostileStage
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.order import Order
from loadtests.processes import Processes

PATIENCE = 5.0  # seconds: the patience of a good client
GOOD = "/good/"
LOOK = 0.1  # seconds between two samples of the memory
GRACE = 20.0
PROBE_PATIENCE = 1.0  # seconds, as for Kubernetes' probes


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds of good requests around an attack: warm-up, before it, and after it."""

    warm_up: float = 1.0
    calm: float = 2.0
    after: float = 3.0

    @property
    def whole(self) -> float:
        return self.warm_up + self.calm + self.after


PAUSES = Pauses()


def perform(name: str, attack: Attack, rate: int, seconds: int, seed: int, pauses: Pauses = PAUSES) -> Run:
    """Play one attack on one balancer, with new processes."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-hostile-")))
        processes = stack.enter_context(Processes(directory))
        stage = HostileStage(processes, directory, REPLICAS)
        stage.start(balancer(name, attack))
        path = WORK if attack.places else GOOD
        phases = [Phase(rate, pauses.whole + seconds, (Sort(path, 0.9), Sort(path, 0.1, "POST")))]
        reuse = not attack.slots
        load, start = stage.start_load(Order(stage.port, phases, PATIENCE, seed, stage.records, reuse))
        _sleep_until(start + pauses.warm_up + pauses.calm)
        pids = _pids(stage.balancer_pid)
        before = _resident(stage.balancer_pid)
        onset = time.monotonic()
        attackers = stage.attack(processes, attack, seconds)
        probed = stage.spare if attack.target is Target.ADMIN else None
        peak, unready = _watch(stage.balancer_pid, onset + seconds, probed)
        end = time.monotonic()
        said = [processes.wait(log, pid, GRACE).splitlines()[-1] for log, pid in attackers.items()]
        stage.wait_for_load(load, pauses.after + PATIENCE + GRACE)
        after = _resident(stage.balancer_pid)
        window = Window(start + pauses.warm_up, onset, end)
        figures = seen(records.read(stage.records), window)
        memory = Memory(before, max(peak, before), after)
        replaced = not pids <= _pids(stage.balancer_pid)
        texts = "; ".join(said)
        return Run(attack.name, name, *figures, memory, attack.connections, texts, replaced, unready)


def _watch(pid: int, end: float, probed: int | None) -> tuple[int, int]:
    """The largest memory of the tree under `pid` until `end`, in KiB; and how many probes of `/readyz` on the
    port `probed` have failed."""
    peak = failed = 0
    while time.monotonic() < end:
        peak = max(peak, _resident(pid))
        failed += probed is not None and not _is_ready(probed)
        time.sleep(LOOK)
    return peak, failed


def _is_ready(port: int) -> bool:
    """Probe as an orchestrator does: on a new connection, with a timeout."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_PATIENCE)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _resident(pid: int) -> int:
    total = 0
    for stat in running_tree(pid):
        try:
            status = Path(f"/proc/{stat.pid}/status").read_text()
        except OSError:
            continue  # it has ended meanwhile
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return total


def _pids(pid: int) -> frozenset[int]:
    return frozenset(stat.pid for stat in running_tree(pid))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
