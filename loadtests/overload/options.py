"""The command line of `make overload`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.arguments import names, number
from loadtests.balancers import OURS
from loadtests.overload.balancers import BALANCERS, WITHOUT_LIMIT
from loadtests.overload.scenes import SCENES, Kind, Scene

_DESCRIPTION = """\
The service of clients when four replicas are overloaded, and whether the balancer changes nothing when they
only seem to be. Requests arrive at random times, whatever happens to earlier ones, at the balancer with its
default settings and, with --vs, at others.
"""
_EPILOG = """\
examples:
  python -m loadtests.overload --only threefold,tenfold --vs nginx,haproxy,haproxy-tuned
  python -m loadtests.overload --only burst,pauses --runs 3

exit code: 0, or 1 if our balancer missed an aim, the load could not keep its rate, or something could not be
started; 2 for an invalid command line. docs/overload.md has the aims and explains the table.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run: `runs` of each scene for each balancer, ours and `others`."""

    scenes: tuple[str, ...]
    others: tuple[str, ...]
    runs: int
    json: Path | None

    def balancers(self, scene: Scene) -> tuple[str, ...]:
        """Without an overload ours is compared with itself."""
        return (OURS, WITHOUT_LIMIT) if scene.kind is Kind.AWAY else (OURS, *self.others)


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    width = max(map(len, SCENES))
    scenes = "\n".join(f"  {scene.name:<{width}}  {scene.summary}" for scene in SCENES.values())
    others = [name for name in BALANCERS if name not in (OURS, WITHOUT_LIMIT)]
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.overload",
        description=_DESCRIPTION,
        epilog=f"scenes:\n{scenes}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=names(SCENES),
        default=tuple(SCENES),
        metavar="SCENE,...",
        help="only these scenes (all); those without overload run twice, with and without adaptive limits",
    )
    parser.add_argument(
        "--vs", type=names(others), default=(), metavar="NAME,...", help=f"also run {', '.join(others)}"
    )
    parser.add_argument("--runs", type=number(1, 50), default=1, help="runs of each (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    values = parser.parse_args(argv)
    return Options(values.only, values.vs, values.runs, values.json)
