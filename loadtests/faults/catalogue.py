"""The faults: what happens to which replica, and when."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtests.faults.behaviour import ERROR_TIME, HEALTHY, Answer, Behaviour, Door
from loadtests.faults.stage import REPLICAS, FaultStage


@dataclass(frozen=True, slots=True)
class Step:
    """An action at one moment: `at` from 0, the onset, to 1, the end of the fault."""

    at: float
    act: Callable[[FaultStage], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. If each replica is ill in turn, there is no share of an ill one."""

    name: str
    summary: str
    steps: Sequence[Step]
    has_ill_replica: bool = True
    may_break_responses: bool = False  # no balancer can save these: the client has part of the response
    wants_namespace: bool = False


def _told(name: str, summary: str, change: Behaviour, may_break_responses: bool = False) -> Fault:
    """A fault that the ill replica plays itself."""
    steps = [Step(0.0, lambda stage: stage.tell(change)), Step(1.0, lambda stage: stage.tell(HEALTHY))]
    return Fault(name, summary, steps, may_break_responses=may_break_responses)


def _stop(stage: FaultStage) -> None:
    stage.send(signal.SIGSTOP)


def _continue(stage: FaultStage) -> None:
    stage.send(signal.SIGCONT)


def _kill(stage: FaultStage) -> None:
    stage.end(stage.ill, signal.SIGKILL)


def _revive(stage: FaultStage) -> None:
    stage.start_again(stage.ill)


def _restart(number: int) -> Step:
    def act(stage: FaultStage) -> None:
        replica = stage.replicas[number]
        stage.end(replica, signal.SIGTERM)
        stage.start_again(replica)

    return Step(number / REPLICAS, act)


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        _told("latency", "answers after 500 ms instead of 8 ms, checks included", Behaviour(delay=0.5)),
        _told(
            "500-sick-check",
            "answers 500 to everything, including checks, within 1 ms",
            Behaviour(status=500, delay=ERROR_TIME),
        ),
        _told(
            "500-healthy-check",
            "answers 500 to all requests within 1 ms, but 200 to checks",
            Behaviour(status=500, delay=ERROR_TIME, healthy_check=True),
        ),
        _told(
            "503",
            "answers 503 to everything, including checks, within 1 ms",
            Behaviour(status=503, delay=ERROR_TIME),
        ),
        _told("hang", "accepts and reads, but never answers", Behaviour(answer=Answer.NEVER)),
        _told("reset", "reads the request, and resets the connection", Behaviour(answer=Answer.RESET)),
        _told(
            "refuse",
            "its port is closed; running requests are answered, then connections closed",
            Behaviour(door=Door.CLOSED),
        ),
        _told(
            "half",
            "sends half the response, and closes",
            Behaviour(answer=Answer.HALF),
            may_break_responses=True,
        ),
        Fault("stop", "its process is stopped (SIGSTOP)", [Step(0.0, _stop), Step(1.0, _continue)]),
        Fault("kill", "its process is killed (SIGKILL)", [Step(0.0, _kill), Step(1.0, _revive)]),
        Fault(
            "black-hole",
            "its packets, SYNs included, are dropped, like those of a machine without power",
            [Step(0.0, lambda stage: stage.swallow(True)), Step(1.0, lambda stage: stage.swallow(False))],
            wants_namespace=True,
        ),
        Fault(
            "rolling-restart",
            "each replica in turn ends at once (SIGTERM, no drain) and is restarted",
            [_restart(number) for number in range(REPLICAS)],
            has_ill_replica=False,
        ),
    )
}
