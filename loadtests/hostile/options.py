"""The command line of `make hostile`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.arguments import names, number
from loadtests.balancers import OURS
from loadtests.hostile.attacks import ATTACKS
from loadtests.hostile.balancers import BALANCERS

_DESCRIPTION = """\
The service of good clients during attacks. Good requests arrive at a fixed rate, whatever happens to earlier
ones; after three seconds the attack begins. With --vs other balancers are attacked in the same way.
"""
_EPILOG = """\
examples:
  python -m loadtests.hostile --only tiny-chunks,idle --seconds 3
  python -m loadtests.hostile --vs nginx,haproxy --json hostile.json
  python -m loadtests.hostile --only closes-at-once,resets-at-once --connections 100000 --seconds 40

exit code: 0, or 1 if at our balancer a good request failed, their 99th percentile was above 20 ms or a worker
ended, or if something could not be started; 2 for an invalid command line. Failures of other balancers are
shown, but do not count.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run; `seconds` is the length of each attack, `connections` replaces each attack's own number
    (0: keeps it)."""

    attacks: tuple[str, ...]
    balancers: tuple[str, ...]
    seconds: int
    rate: int
    connections: int
    json: Path | None


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    width = max(map(len, ATTACKS))
    attacks = "\n".join(
        f"  {one.name:<{width}}  {one.connections:>5} x  {one.summary}" for one in ATTACKS.values()
    )
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.hostile",
        description=_DESCRIPTION,
        epilog=f"attacks, and over how many connections:\n{attacks}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=names(ATTACKS),
        default=tuple(ATTACKS),
        metavar="ATTACK,...",
        help="only these attacks (all)",
    )
    others = [name for name in BALANCERS if name != OURS]
    parser.add_argument(
        "--vs",
        type=lambda text: names(others)(text) if text else (),
        default=(),
        metavar="NAME,...",
        help="also attack nginx, haproxy or both",
    )
    parser.add_argument("--seconds", type=number(1, 600), default=6, help="length of an attack (6)")
    parser.add_argument("--rate", type=number(10, 5000), default=100, help="good requests per second (100)")
    parser.add_argument(
        "--connections",
        type=number(1, 1_000_000),
        default=0,
        metavar="N",
        help="connections of each attack; above 4,000 with more attackers and workers, of ours only",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    values = parser.parse_args(argv)
    return Options(
        values.only, (OURS, *values.vs), values.seconds, values.rate, values.connections, values.json
    )
