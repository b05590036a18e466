"""The verdict: a sentence for each missed aim; any sentence means exit code 1."""

from collections.abc import Sequence

from loadtests.balancers import OURS
from loadtests.open_loop.figures import MAX_LAG
from loadtests.overload.balancers import WITHOUT_LIMIT
from loadtests.overload.figures import Run
from loadtests.overload.scenes import SCENES, Kind, Scene

RECOVERY = 1.0  # seconds after the overload in which requests may still fail
# Noise of p50 and of p99: a share or seconds, whichever is more.
NOISE_P50 = (0.1, 0.002)
NOISE_P99 = (0.25, 0.02)


def missed_aims(runs: Sequence[Run]) -> list[str]:
    """Missed aims of our balancer's runs, and invalid runs of any balancer."""
    found = []
    for run in runs:
        name = f"{run.balancer}, {run.scene}"
        if not run.is_valid:
            found.append(
                f"{name}: invalid, as the load was late by {run.lag * 1e3:.0f} ms (p99; at most "
                f"{MAX_LAG * 1e3:.0f}); repeat it when the machine is less busy"
            )
        elif run.balancer == OURS:
            found += [f"{name}: {sentence}" for sentence in _missed(run, SCENES[run.scene])]
    for scene in dict.fromkeys(run.scene for run in runs if run.is_valid):
        found += _delays(scene, [run for run in runs if run.scene == scene and run.is_valid])
    return found


def _delays(scene: str, runs: Sequence[Run]) -> list[str]:
    """Whether requests took longer than without a limit, by the best runs, as a busy machine only adds
    time."""
    ours = [run.served for run in runs if run.balancer == OURS]
    without = [run.served for run in runs if run.balancer == WITHOUT_LIMIT]
    if not ours or not without:
        return []
    found = []
    for name, (share, seconds) in (("p50", NOISE_P50), ("p99", NOISE_P99)):
        least, usual = (min(getattr(one, name) for one in some) for some in (ours, without))
        if least > usual + max(share * usual, seconds):
            found.append(f"{scene}: {name} is {least * 1e3:.0f} ms, and {usual * 1e3:.0f} without a limit")
    return found


def _missed(run: Run, scene: Scene) -> list[str]:
    found = []
    if run.ejections and not scene.may_eject:
        found.append(f"{run.ejections} ejections of healthy replicas")
    if run.warm is not None and run.warm[0] < run.warm[1]:
        found.append(f"{run.warm[1] - run.warm[0]} requests failed before the overload")
    if scene.window is not None and run.goodput is not None and run.goodput.least < scene.window.least:
        found.append(
            f"goodput {run.goodput.least}/s in the worst second that counts, not {scene.window.least:.0f}"
        )
    if scene.p99 is not None and run.served.p99 > scene.p99:
        found.append(f"served requests took {run.served.p99:.1f} s (p99), not {scene.p99:.0f}")
    if scene.kind is Kind.AWAY:
        failed = run.refused + run.timeouts + run.others.total()
        if failed:
            found.append(f"{failed} requests failed, {run.refused} of them refused")
    if scene.kind is Kind.OVERLOAD:
        found += _missed_in_overload(run)
    return found


def _missed_in_overload(run: Run) -> list[str]:
    found = []
    if run.recovery is not None and run.recovery > RECOVERY:
        found.append(f"requests failed until {run.recovery:.1f} s after the overload")
    if run.cpu_served is not None and run.cpu_refused is not None and run.cpu_refused > run.cpu_served:
        found.append("a refused request costs more than a served one")
    return found
