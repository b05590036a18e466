"""The benchmark's command line."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests import builds
from loadtests.arguments import names, number
from loadtests.bench.cases import CASES
from loadtests.bench.contenders import NAMES

_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. `seconds` is per round and proxy, `body` in bytes; every number is bounded."""

    case: tuple[str, ...]
    proxies: tuple[str, ...]
    rounds: int
    seconds: int
    connections: int | None
    body: int | None
    compiled: Path
    check: bool
    max_ratio: float | None
    json: Path | None
    read: tuple[Path, ...]
    write: Path | None
    pictures: Path | None


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench",
        description="The cost of balancer beside nginx, HAProxy, Caddy and a naive proxy, on one core.",
        epilog=f"Cases: {', '.join(CASES)}.",
    )
    parser.add_argument(
        "--case", type=_patterns, default=("*",), help="cases, or patterns such as '1000-*' (default: all)"
    )
    parser.add_argument("--proxies", type=names(NAMES), default=NAMES, help=f"among {', '.join(NAMES)}")
    parser.add_argument(
        "--rounds", type=number(1, 50), default=5, help="figures are their medians (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=number(1, 60), default=5, help="of load per round and proxy (default: 5)"
    )
    parser.add_argument(
        "--connections", type=number(1, 8000), help="instead of a case's own; bars are not judged"
    )
    parser.add_argument(
        "--body", type=_size, help="response size instead of a case's own, such as 100, 8k or 1M; no bars"
    )
    parser.add_argument(
        "--compiled", type=Path, default=builds.COMPILED, metavar="DIR", help="where the compiled package is"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed, or was not measured")
    parser.add_argument(
        "--max-ratio", type=float, help="exit 1 if ours (plain where it is not compiled) costs more, small"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    parser.add_argument(
        "--read", type=Path, nargs="+", default=(), metavar="FILE", help="measure nothing; take such files"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page of the documentation")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="PYTHON",
        help="draw its pictures with this Python, which has matplotlib",
    )
    values = vars(parser.parse_args(argv))
    return Options(**values | {"read": tuple(values["read"])})


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(pattern.strip() for pattern in text.split(",") if pattern.strip())


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([kKmM]?)", text)
    size = int(found[1]) * _SIZE_UNITS[found[2].lower()] if found else 0
    if not 1 <= size <= 64 * 1024**2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 1 to 64M, such as 100, 8k or 1M")
    return size
