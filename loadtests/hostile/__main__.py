"""`make hostile`: every attack on the balancer, and on others if asked for, and one table at the end.

Exits 0 if all bounds hold, 1 if one does not or on any error, 130 on Ctrl-C.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from loadtests import command
from loadtests.balancers import OURS
from loadtests.errors import BenchError
from loadtests.hostile import options as command_line
from loadtests.hostile import report
from loadtests.hostile.attacks import ATTACKS
from loadtests.hostile.balancers import balancer, suffers
from loadtests.hostile.figures import Run, broken_promises
from loadtests.hostile.options import Options
from loadtests.hostile.performance import PAUSES, perform

SET_UP = 3.0  # approximate overhead of a run in seconds
WIDTH = 160  # columns, if the width of the output is unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the attacks and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    return command.run("hostile", lambda: _run(options, console))


def _run(options: Options, console: Console) -> int:
    attacks = [ATTACKS[name] for name in options.attacks]
    if options.connections:
        attacks = [replace(attack, connections=options.connections) for attack in attacks]
    plan = [(attack, name) for attack in attacks for name in options.balancers]
    plan = [(attack, name) for attack, name in plan if suffers(name, attack)]
    for attack, name in plan:
        balancer(name, attack).require()
    minutes = len(plan) * (PAUSES.whole + options.seconds + SET_UP) / 60
    console.print(f"attacks: {len(plan)}, in about {max(minutes, 1):.0f} min", highlight=False)
    runs: list[Run] = []
    try:
        for number, (attack, name) in enumerate(plan, 1):
            runs.append(perform(name, attack, options.rate, options.seconds, number))
            console.print(report.run_line(number, len(plan), runs[-1]), highlight=False)
    except (BenchError, KeyboardInterrupt):
        if runs:
            _show(options, console, runs)  # the figures so far are not lost
        raise
    _show(options, console, runs)
    found = broken_promises(runs, OURS)
    for sentence in found:
        console.print(sentence, highlight=False)
    return 1 if found else 0


def _show(options: Options, console: Console, runs: Sequence[Run]) -> None:
    console.print(report.table(runs, f"attacks of {options.seconds} s beside {options.rate} good requests/s"))
    if options.json is not None:
        report.write_json(options.json, {"seconds": options.seconds, "rate": options.rate}, runs)


if __name__ == "__main__":
    sys.exit(main())
