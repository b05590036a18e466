"""`make live`: each case in turn, and a table of each.

Exits 0 if all promises were kept, 1 if one was broken (`loadtests.live.verdict`) or on any error, 130 on
Ctrl-C.
"""

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console

from loadtests import command
from loadtests.live import deploy, large, report
from loadtests.live import options as command_line
from loadtests.live.options import Options
from loadtests.live.others import OTHERS
from loadtests.live.performance import Run, perform, perform_other
from loadtests.live.scene import CHANGES, shortened
from loadtests.live.verdict import broken_promises

DEPLOYS = 3  # rounds of each app's replicas, by both recipes
ROUNDS, RELOADS = 3, 10  # of the large pool
WIDTH = 170  # columns, if the width of the output is unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    return command.run("live", lambda: _run(options, console))


def _run(options: Options, console: Console) -> int:
    for name in options.others:
        OTHERS[name].balancer.require()
    if "deploy" in options.cases:
        deploy.require()
    found: list[str] = []
    if "scene" in options.cases:
        runs = list(_play(options, console))
        for run in runs:
            console.print(report.table(run))
            found += broken_promises(run)
    if "deploy" in options.cases:
        found += _deploy(options, console)
    if "large" in options.cases:
        found += _large(options, console)
    for sentence in found:
        console.print(sentence)
    console.print("verdict: broken" if found else "verdict: kept")
    return 1 if found else 0


def _play(options: Options, console: Console) -> Iterator[Run]:
    """The scene in front of our balancer, and its reloads in front of others."""
    changes = [shortened(one, options.share) for one in CHANGES]
    mine = [one for one in changes if one.name in options.only]
    yield perform(mine, options.load, console.print)
    for name in options.others:
        console.print(name)
        yield perform_other(name, changes[0], options.load, console.print)


def _deploy(options: Options, console: Console) -> list[str]:
    deploys = []
    for app in deploy.APPS:
        deploys.append(deploy.perform(app, max(1, round(DEPLOYS * options.share))))
        console.print(f"deploy: {app}: {deploys[-1].restarts} restarts")
    console.print(deploy.table(deploys))
    return deploy.broken_promises(deploys)


def _large(options: Options, console: Console) -> list[str]:
    reloads = max(2, round(RELOADS * options.share))
    rounds = large.perform(ROUNDS, reloads, options.load.rate, console.print)
    for line in large.lines(rounds):
        console.print(line)
    return large.broken_promises(rounds)


if __name__ == "__main__":
    sys.exit(main())
