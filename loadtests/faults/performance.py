"""One run: start the processes and the load, play the fault, and take the figures."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from loadtests.balancers import Balancer
from loadtests.faults.catalogue import Fault
from loadtests.faults.figures import Run, Timeline, Window, measure
from loadtests.faults.namespace import Namespace
from loadtests.faults.stage import PATIENCE, FaultStage
from loadtests.open_loop import records
from loadtests.processes import Processes

GRACE = 15.0  # seconds beyond the load's own duration after which it has failed
SETTLING = 0.2  # seconds for replicas to read requests in transit


def perform(
    balancer: Balancer, fault: Fault, timeline: Timeline, rate: int, seed: int, namespaces: bool
) -> Run:
    """Play one fault behind one balancer, with new processes."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-faults-")))
        namespace = stack.enter_context(Namespace()) if namespaces and fault.wants_namespace else None
        processes = stack.enter_context(Processes(directory))
        stage = FaultStage(processes, directory, namespace)
        stage.start(balancer)
        pid, start = stage.start_load(stage.order(rate, timeline.whole, seed))
        window = _play(stage, fault, timeline, start)
        stage.wait_for_load(pid, timeline.after + PATIENCE + GRACE)
        time.sleep(SETTLING)
        ill = stage.replicas.index(stage.ill) if fault.has_ill_replica else None
        name = balancer.name, fault.name
        return measure(name, records.read(stage.records), stage.ledgers(), window, ill)


def _play(stage: FaultStage, fault: Fault, timeline: Timeline, start: float) -> Window:
    """Take the fault's steps, each at its time; returns the times of its onset and end."""
    planned = start + timeline.onset
    _sleep_until(planned)
    onset = time.monotonic()
    for step in fault.steps:
        _sleep_until(planned + step.at * timeline.fault)
        step.act(stage)
    _sleep_until(planned + timeline.fault)
    return Window(start + timeline.warm_up, onset, time.monotonic())


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
