"""The command line of `make live`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.arguments import names, number
from loadtests.live.others import OTHERS
from loadtests.live.play import Load
from loadtests.live.scene import CHANGES

CASES = {
    "scene": "all changes of one balancer under load",
    "deploy": "replicas of gunicorn, uvicorn and node restarted one by one, as docs/deploy.md says",
    "large": "reloads of a pool of 1,000 upstreams",
}
_DESCRIPTION = """\
A balancer is changed while it serves. Clients that retry nothing send GETs and POSTs at a fixed rate over
keep-alive connections, and have 20 WebSockets and 5 slow downloads open; every answer's body is checked. No
request may fail and nothing may be cut, except by a killed worker: what it had, and what was sent there
before its client saw the reset. Counters only rise, and memory and descriptors come back.
"""
_EPILOG = """\
examples:
  python -m loadtests.live --percent 10
  python -m loadtests.live --case scene --only reload,kill
  python -m loadtests.live --case scene --only reload --vs nginx,haproxy

exit code: 0, or 1 if a promise was broken, the load could not keep its rate, or something could not be
started; 2 for an invalid command line. docs/live.md explains the table.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. `share` of each kind's changes."""

    cases: tuple[str, ...]
    only: tuple[str, ...]
    others: tuple[str, ...]
    share: float
    load: Load


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    changes = {one.name: f"{one.count} {one.summary}" for one in CHANGES}
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.live",
        description=_DESCRIPTION,
        epilog=f"cases:\n{_listed(CASES)}\n\nchanges in `scene`:\n{_listed(changes)}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--case", type=names(CASES), default=tuple(CASES), metavar="CASE,...", help="only these cases (all)"
    )
    parser.add_argument(
        "--only",
        type=names(changes),
        default=tuple(changes),
        metavar="CHANGE,...",
        help="of `scene`, only these changes (all)",
    )
    parser.add_argument(
        "--vs",
        type=names(OTHERS),
        default=(),
        metavar="NAME,...",
        help="also reload nginx, haproxy or both under the same load",
    )
    parser.add_argument(
        "--percent", type=number(1, 100), default=100, help="of the changes of each kind, 2 at least (100)"
    )
    parser.add_argument("--rate", type=number(10, 5000), default=500, help="requests per second (500)")
    parser.add_argument("--warm-up", type=number(1, 600), default=20, help="seconds before the first (20)")
    parser.add_argument(
        "--rest", type=number(0, 600), default=6, help="seconds without load before memory is read (6)"
    )
    values = parser.parse_args(argv)
    share = values.percent / 100
    load = Load(values.rate, values.warm_up, values.rest)
    return Options(values.case, values.only, values.vs, share, load)


def _listed(named: dict[str, str]) -> str:
    width = max(map(len, named))
    return "\n".join(f"  {name:<{width}}  {summary}" for name, summary in named.items())
