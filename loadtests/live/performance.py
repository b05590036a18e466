"""One run: start everything, make all changes under load, and take the figures."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.live import settings
from loadtests.live.figures import Figures, measure
from loadtests.live.instance import Instance
from loadtests.live.kills import Kill
from loadtests.live.others import OTHERS, OtherScene
from loadtests.live.play import Change, Held, Load, Play, Say
from loadtests.live.scene import ACTS, Scene
from loadtests.live.stage import LiveStage
from loadtests.processes import Processes
from loadtests.proxies import Launch

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its parts, what the balancer held and when, and what went wrong."""

    balancer: str
    parts: Sequence[Figures]
    held: Sequence[Held]
    problems: Sequence[str]


def perform(changes: Sequence[Change], load: Load, say: Say) -> Run:
    """Make all changes of our balancer, one kind after the other."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-live-")))
        stage = LiveStage(stack.enter_context(Processes(directory)), directory)
        stage.start(Balancer(OURS, "", "", _ours))
        instance = Instance(stage.spare, stage.balancer_pid, WORKERS)
        stack.callback(instance.end)
        scene = Scene(instance, _file(directory), [one.address for one in stage.replicas])
        play = Play(stage, scene, load, say)
        play.warm_up()
        for change in changes:
            play.change(change, partial(ACTS[change.name], scene))
        play.rest("at the end")
        return _end(OURS, stage, play, scene.kills, scene.problems)


def perform_other(name: str, reloads: Change, load: Load, say: Say) -> Run:
    """Reload another balancer as often as ours."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-live-")))
        stage = LiveStage(stack.enter_context(Processes(directory)), directory)
        other = OTHERS[name]
        stage.start(other.balancer)
        replicas = [one.address for one in stage.replicas]
        scene = OtherScene(other, stage.balancer_pid, directory, stage.port, replicas)
        play = Play(stage, scene, load, say)
        play.warm_up()
        play.change(reloads, scene.reload)
        play.rest("at the end")
        return _end(name, stage, play, (), scene.problems)


def _end(name: str, stage: LiveStage, play: Play, kills: Sequence[Kill], problems: Sequence[str]) -> Run:
    return Run(name, [measure(part, stage.seen, kills) for part in play.parts], play.held, problems)


def _file(directory: Path) -> Path:
    return directory / "balancer.yaml"


def _ours(directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    settings.write_tree(_file(directory), settings.tree(settings.Values(), upstreams))
    return proxies.balancer(port, spare, [], CONFIG=str(_file(directory)), WORKERS=str(WORKERS))
