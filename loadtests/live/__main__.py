"""`make live`: each case in turn, and a table of each.

Exits 0 if all promises were kept, 1 if one was broken (`loadtests.live.verdict`) or on any error, 130 on
Ctrl-C.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from loadtests import command
from loadtests.live import options as command_line
from loadtests.live import report
from loadtests.live.options import Options
from loadtests.live.performance import perform
from loadtests.live.scene import CHANGES
from loadtests.live.verdict import broken_promises

WIDTH = 170  # columns, if the width of the output is unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    return command.run("live", lambda: _run(options, console))


def _run(options: Options, console: Console) -> int:
    found: list[str] = []
    if "scene" in options.cases:
        changes = [one.shortened(options.share) for one in CHANGES if one.name in options.only]
        run = perform(changes, options.rate, options.warm_up, console.print)
        console.print(report.table(run.parts, f"scene: {options.rate} requests/s"))
        found += broken_promises(run)
    for sentence in found:
        console.print(sentence)
    console.print("verdict: broken" if found else "verdict: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
