"""The command line of `make faults`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.arguments import names, number
from loadtests.balancers import OURS
from loadtests.faults.balancers import BALANCERS
from loadtests.faults.catalogue import FAULTS

_DESCRIPTION = """\
The effect on clients when one of four replicas fails. Requests arrive at a fixed rate, whatever happens to
earlier ones, at the balancer and, with --vs, at others in the same way. Each run has a warm-up, a baseline,
the fault, and a time after it.
"""
_EPILOG = """\
examples:
  python -m loadtests.faults --only kill,hang --seconds 10 --runs 1
  python -m loadtests.faults --vs nginx,haproxy --json faults.json

exit code: 0, or 1 if a GET failed for its client (except responses truncated by the fault `half`), a POST was
read twice by replicas, the load could not keep its rate, or something could not be started; 2 for an invalid
command line. Failures of other balancers are shown, but do not count. docs/faults.md explains the table.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. `seconds` and `runs` are for each fault and balancer."""

    faults: tuple[str, ...]
    balancers: tuple[str, ...]
    seconds: int
    runs: int
    rate: int
    json: Path | None


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    width = max(map(len, FAULTS))
    faults = "\n".join(f"  {fault.name:<{width}}  {fault.summary}" for fault in FAULTS.values())
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.faults",
        description=_DESCRIPTION,
        epilog=f"faults (the ill replica ...):\n{faults}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=names(FAULTS),
        default=tuple(FAULTS),
        metavar="FAULT,...",
        help="only these faults (all)",
    )
    parser.add_argument(
        "--vs", type=_others, default=(), metavar="NAME,...", help="also run nginx, haproxy or both"
    )
    parser.add_argument("--seconds", type=number(2, 600), default=30, help="length of a run (30)")
    parser.add_argument("--runs", type=number(1, 50), default=3, help="runs of each (3)")
    parser.add_argument("--rate", type=number(10, 5000), default=600, help="requests per second (600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    values = parser.parse_args(argv)
    return Options(
        faults=values.only,
        balancers=(OURS, *values.vs),
        seconds=values.seconds,
        runs=values.runs,
        rate=values.rate,
        json=values.json,
    )


def _others(text: str) -> tuple[str, ...]:
    return names([name for name in BALANCERS if name != OURS])(text) if text else ()
