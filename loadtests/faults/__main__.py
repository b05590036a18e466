"""`make faults`: every fault behind the balancer, and behind others if asked for, and one table at the end.

Exits 0 if all bounds hold, 1 if one does not (`loadtests.faults.verdict`) or on any error, 130 on Ctrl-C.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from loadtests import command
from loadtests.errors import BenchError
from loadtests.faults import namespace, report
from loadtests.faults import options as command_line
from loadtests.faults.balancers import BALANCERS
from loadtests.faults.catalogue import FAULTS
from loadtests.faults.figures import Run, Timeline, together
from loadtests.faults.options import Options
from loadtests.faults.performance import perform
from loadtests.faults.verdict import broken_promises

SET_UP = 2.5  # approximate overhead of a run in seconds
WIDTH = 160  # columns, if the width of the output is unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the faults and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    return command.run("faults", lambda: _run(options, console))


def _run(options: Options, console: Console) -> int:
    for name in options.balancers:
        BALANCERS[name].require()
    namespaces = namespace.are_possible()
    total = options.runs * len(options.faults) * len(options.balancers)
    minutes = total * (options.seconds + SET_UP) / 60
    console.print(
        f"runs of {options.seconds} s: {total}, in about {max(minutes, 1):.0f} min", highlight=False
    )
    if not namespaces and any(FAULTS[name].wants_namespace for name in options.faults):
        console.print(
            "no network namespaces here (they need root, ip and iptables): a full backlog is the black hole",
            highlight=False,
        )
    runs: list[Run] = []
    try:
        _perform_all(options, console, runs, total, namespaces)
    except (BenchError, KeyboardInterrupt):
        if runs:
            _show(options, console, runs)  # an hour's work is not lost
        raise
    found = broken_promises(_show(options, console, runs))
    for sentence in found:
        console.print(sentence, highlight=False)
    return 1 if found else 0


def _perform_all(options: Options, console: Console, runs: list[Run], total: int, namespaces: bool) -> None:
    """Append each finished run to `runs`."""
    timeline = Timeline.of(options.seconds)
    # One run of each, then the next: a busy minute of the machine affects only a few.
    for number in range(options.runs):
        for fault in options.faults:
            for name in options.balancers:
                run = perform(BALANCERS[name], FAULTS[fault], timeline, options.rate, number, namespaces)
                runs.append(run)
                console.print(report.run_line(len(runs), total, run), highlight=False)


def _show(options: Options, console: Console, runs: Sequence[Run]) -> list[Run]:
    """Print the table, write the file if requested, and return the table's rows."""
    names = [(fault, name) for fault in options.faults for name in options.balancers]
    sorted_runs = [[run for run in runs if (run.fault, run.balancer) == name] for name in names]
    rows = [together(of_one) for of_one in sorted_runs if of_one]
    title = (
        f"runs of {options.seconds} s: {options.runs}, {options.rate} requests/s: counts are sums, "
        "percentiles medians of the runs, the rest the worst"
    )
    console.print(report.table(rows, title))
    lag = max(run.lag for run in runs)
    console.print(f"in the worst run the load was late by {lag * 1e3:.0f} ms (p99)", highlight=False)
    if options.json is not None:
        settings = {key: getattr(options, key) for key in ("seconds", "runs", "rate")}
        report.write_json(options.json, settings, rows, runs)
    return rows


if __name__ == "__main__":
    sys.exit(main())
