"""`make overload`: every scene in front of the balancer, and of others if asked for, and one table.

Exits 0 if every aim was met (`loadtests.overload.verdict`), 1 if one was missed or on any error, 130 on
Ctrl-C.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from loadtests import command
from loadtests.errors import BenchError
from loadtests.overload import options as command_line
from loadtests.overload import report
from loadtests.overload.balancers import BALANCERS
from loadtests.overload.figures import Run
from loadtests.overload.options import Options
from loadtests.overload.performance import perform
from loadtests.overload.scenes import SCENES
from loadtests.overload.verdict import missed_aims

SET_UP = 5.0  # approximate overhead of a run in seconds
WIDTH = 190  # columns, if the width of the output is unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenes and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    return command.run("overload", lambda: _run(options, console))


def _run(options: Options, console: Console) -> int:
    for name in options.others:
        BALANCERS[name].require()
    plan = [
        (SCENES[scene], BALANCERS[name])
        for scene in options.scenes
        for _ in range(options.runs)
        for name in options.balancers(SCENES[scene])
    ]
    seconds = sum(scene.seconds + SET_UP for scene, _ in plan)
    console.print(f"runs: {len(plan)}, in about {max(seconds / 60, 1):.0f} min", highlight=False)
    runs: list[Run] = []
    try:
        for scene, balancer in plan:
            # The same seed for all, as they are compared with each other.
            seed = sum((one.scene, one.balancer) == (scene.name, balancer.name) for one in runs)
            runs.append(perform(balancer, scene, seed))
            console.print(report.run_lines(len(runs), len(plan), runs[-1]), highlight=False)
    except (BenchError, KeyboardInterrupt):
        if runs:
            _show(options, console, runs)
        raise
    _show(options, console, runs)
    missed = missed_aims(runs)
    for sentence in missed:
        console.print(sentence, highlight=False)
    return 1 if missed else 0


def _show(options: Options, console: Console, runs: Sequence[Run]) -> None:
    """Print the table, and write the file if requested."""
    console.print(report.table(runs, "overload: four replicas, default settings"))
    lag = max(run.lag for run in runs)
    console.print(f"in the worst run the load was late by {lag * 1e3:.0f} ms (p99)", highlight=False)
    if options.json is not None:
        report.write_json(options.json, runs)


if __name__ == "__main__":
    sys.exit(main())
