"""The verdict: a sentence for each broken bound; any sentence means exit code 1."""

from collections.abc import Sequence

from loadtests.balancers import OURS
from loadtests.faults.catalogue import FAULTS
from loadtests.faults.figures import Run
from loadtests.open_loop.figures import MAX_LAG
from loadtests.open_loop.records import Kind


def broken_promises(runs: Sequence[Run]) -> list[str]:
    """Broken bounds of our balancer's runs, and invalid runs of any balancer."""
    found = []
    for run in runs:
        name = f"{run.balancer}, {run.fault}"
        if not run.is_valid:
            found.append(
                f"{name}: invalid, as the load was late by {run.lag * 1e3:.0f} ms (p99; at most "
                f"{MAX_LAG * 1e3:.0f}); repeat it when the machine is less busy"
            )
        if run.balancer != OURS:
            continue
        excused = run.gets[Kind.CUT] if FAULTS[run.fault].may_break_responses else 0
        failed = run.gets.total() - excused
        if failed:
            found.append(f"{name}: {failed} GET requests failed for their clients")
        if run.posts_read_twice:
            found.append(f"{name}: {run.posts_read_twice} POST requests were read twice by replicas")
        wrong = run.posts[Kind.WRONG]
        if wrong:
            found.append(f"{name}: {wrong} POST requests got the response to another request")
    return found
