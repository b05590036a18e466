"""One run: start the processes and the load, change the replicas if required, and take the figures."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from loadtests.balancers import Balancer
from loadtests.cpu import tree_seconds
from loadtests.open_loop import records
from loadtests.open_loop.order import Order
from loadtests.overload.balancers import ejections
from loadtests.overload.figures import Cpu, Run, measure
from loadtests.overload.scenes import Scene, Step
from loadtests.overload.stage import OverloadStage
from loadtests.processes import Processes

GRACE = 30.0  # seconds beyond the load's own duration after which it has failed
SETTLING = 1.0  # seconds after the start in which a balancer may still be busy
IDLE = 1.0  # seconds without requests, to measure what the balancer uses by itself


def perform(balancer: Balancer, scene: Scene, seed: int) -> Run:
    """Play one scene with one balancer and new processes."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-overload-")))
        processes = stack.enter_context(Processes(directory))
        stage = OverloadStage(processes, directory, scene.replicas)
        stage.start(balancer)
        idle = _idle_cpu(stage.balancer_pid)
        order = Order(stage.port, scene.phases, scene.patience, seed, stage.records, scene.reuse)
        pid, start = stage.start_load(order)
        cpu = _play(stage, scene, start, idle)
        stage.wait_for_load(pid, scene.seconds + scene.patience + GRACE)
        ejected = ejections(balancer.name, stage)
        return measure(scene, balancer.name, records.read(stage.records), start, ejected, cpu)


def _play(stage: OverloadStage, scene: Scene, start: float, idle: float) -> Cpu:
    """Take the scene's steps, each at its time, and the CPU times at the overload's start and end."""
    taken: list[float] = []

    def take(stage: OverloadStage) -> None:
        taken.append(tree_seconds(stage.balancer_pid))

    steps = [*scene.steps]
    if scene.window is not None:
        steps += [Step(at, take) for at in (0.0, scene.window.begins, scene.window.ends)]
    for step in sorted(steps, key=lambda step: step.at):
        time.sleep(max(0.0, start + step.at - time.monotonic()))
        step.act(stage)
    if scene.window is None:
        return Cpu(idle, 0.0, 0.0)
    at_first, at_onset, at_end = taken
    return Cpu(idle, at_onset - at_first, at_end - at_onset)


def _idle_cpu(pid: int) -> float:
    """CPU seconds per second of an idle balancer, including its checks."""
    time.sleep(SETTLING)
    before = tree_seconds(pid)
    time.sleep(IDLE)
    return (tree_seconds(pid) - before) / IDLE
