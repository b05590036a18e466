"""The verdict: a sentence for each broken promise; any sentence means exit code 1."""

from collections.abc import Iterator

from loadtests.balancers import OURS
from loadtests.live.performance import Run
from loadtests.live.processes import Holdings
from loadtests.live.report import counted
from loadtests.open_loop.figures import MAX_LAG

MOST = 1.05  # what is held at the end, relative to what was held after the warm-up
LAG = 4 * MAX_LAG  # the load is one process among many on a few cores, and its lag is in each duration


def broken_promises(run: Run) -> list[str]:
    """Broken promises of a run; of another balancer none, but that its load kept its rate."""
    found = [f"{run.balancer}: {sentence}" for sentence in run.problems]
    for one in run.parts:
        name = f"{run.balancer}, {one.part.name}"
        if one.lag.p99 > LAG:
            found.append(
                f"{name}: invalid, as the load was late by {one.lag.p99 * 1e3:.0f} ms (p99); repeat it"
            )
        if run.balancer == OURS:
            found += [
                f"{name}: {what}: {counted(counts)}"
                for what, counts in (
                    ("failed requests", one.failed),
                    ("WebSockets cut", one.websockets_cut),
                    ("downloads cut", one.downloads_cut),
                )
                if counts
            ]
    at_rest = [held for held in run.held if held.at_rest and run.balancer == OURS]
    for held in at_rest[1:]:
        found += [
            f"{run.balancer}, {held.when}: {what}" for what in grown(at_rest[0].holdings, held.holdings)
        ]
    return found


def grown(before: Holdings, after: Holdings) -> Iterator[str]:
    """A sentence for memory and for descriptors, if more is held than after the warm-up."""
    if after.memory > MOST * before.memory:
        yield f"memory {after.memory / 2**20:.1f} MiB, {before.memory / 2**20:.1f} MiB after the warm-up"
    if after.descriptors > MOST * before.descriptors:
        yield f"{after.descriptors} descriptors, {before.descriptors} after the warm-up"
