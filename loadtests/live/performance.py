"""One run: start everything, make all changes under load, and take the figures."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.live import counters, settings
from loadtests.live.figures import Figures, Part, measure
from loadtests.live.instance import Holdings, Instance, holdings
from loadtests.live.scene import Change, Scene
from loadtests.live.stage import LiveStage
from loadtests.processes import Processes
from loadtests.proxies import Launch

WORKERS = 2
WEBSOCKETS, DOWNLOADS = 20, 5
SETTLES = 120.0  # seconds: idle connections of clients live for CLIENT_IDLE, 75 s
STEADY = 5.0  # seconds of load before memory is read
LONGEST = 1800.0  # seconds of a whole run, at most
EVERY = 10  # changes per line of progress

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its parts, what the balancer held after the warm-up and later, and what went wrong."""

    balancer: str
    parts: Sequence[Figures]
    held: Sequence[tuple[str, Holdings]]
    problems: Sequence[str]


def perform(changes: Sequence[Change], rate: int, warm_up: float, say: Say) -> Run:
    """Make all changes of our balancer, one kind after the other."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-live-")))
        processes = stack.enter_context(Processes(directory))
        stage = LiveStage(processes, directory)
        stage.start(Balancer(OURS, "", "", _ours))
        instance = Instance(stage.spare, stage.balancer_pid, WORKERS)
        stack.callback(instance.end)
        scene = Scene(instance, _file(directory), [one.address for one in stage.replicas])
        play = _Play(stage, scene, say)
        stage.begin_requests(rate, LONGEST)
        stage.open_long_lived(WEBSOCKETS, DOWNLOADS)
        play.wait("warm-up", warm_up)
        for change in changes:
            if change.is_settled:
                play.settle(f"before {change.name}")
            play.change(change)
        play.settle("at the end")
        stage.end_requests()
        stage.close_long_lived()
        parts = [measure(part, stage.seen, scene.kills) for part in play.parts]
        return Run(OURS, parts, play.held, scene.problems)


class _Play:
    """Plays the parts of a run."""

    def __init__(self, stage: LiveStage, scene: Scene, say: Say) -> None:
        self._stage = stage
        self._scene = scene
        self._say = say
        self.parts: list[Part] = []
        self.held: list[tuple[str, Holdings]] = []

    def wait(self, name: str, seconds: float) -> None:
        """A part without changes; what is held after it is what later parts are compared with."""
        begun = time.monotonic()
        time.sleep(seconds)
        self._end(name, begun)
        self._hold(f"after the {name}")

    def change(self, change: Change) -> None:
        """All changes of one kind, with WebSockets and downloads that the present workers have."""
        self._reopen()
        begun, took = time.monotonic(), list[float]()
        before: dict[str, float] = {}
        for number in range(change.count):
            at = time.monotonic()
            change.act(self._scene, number)
            took.append(time.monotonic() - at)
            after = counters.parse(self._scene.instance.scrape())
            if not change.begins_metrics_anew:
                self._scene.problems += counters.fallen(before, after)
            before = after
            time.sleep(change.pause)
            if (number + 1) % EVERY == 0 or number + 1 == change.count:
                self._say(f"{change.name}: {number + 1} of {change.count}, the last one in {took[-1]:.2f} s")
        self._end(change.name, begun, took)

    def settle(self, name: str) -> None:
        """Let what is long-lived end, wait until former workers have ended, and see what is held."""
        begun = time.monotonic()
        self._stage.close_long_lived()
        self._scene.instance.settles(SETTLES)
        self._say(f"former workers have ended after {time.monotonic() - begun:.0f} s")
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)
        time.sleep(STEADY)
        self._end(f"settled {name}", begun)
        self._hold(name)

    def _reopen(self) -> None:
        self._stage.close_long_lived()
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)

    def _hold(self, name: str) -> None:
        held = holdings(self._scene.instance.pid)
        self.held.append((name, held))
        mib = held.memory / 2**20
        self._say(f"{name}: {mib:.1f} MiB, {held.descriptors} descriptors, {held.processes} processes")

    def _end(self, name: str, begun: float, took: Sequence[float] = ()) -> None:
        self.parts.append(Part(name, begun, time.monotonic(), took))


def _file(directory: Path) -> Path:
    return directory / "balancer.yaml"


def _ours(directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    settings.write_tree(_file(directory), settings.tree(settings.Values(), upstreams))
    return proxies.balancer(port, spare, [], CONFIG=str(_file(directory)), WORKERS=str(WORKERS))
