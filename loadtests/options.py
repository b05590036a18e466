"""The benchmark's command line."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.arguments import names, number
from loadtests.figures import BASELINE
from loadtests.proxies import PROXIES

_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. `seconds` is per round and proxy, `body` in bytes; every number is bounded."""

    proxies: tuple[str, ...]
    rounds: int
    seconds: int
    connections: int
    body: int
    json: Path | None
    max_ratio: float | None


def parse(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with a usage message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench",
        description="CPU per request of balancer, nginx and HAProxy side by side, on one core.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--proxies", type=names(PROXIES), default=",".join(PROXIES), help="proxies to run, in this order"
    )
    parser.add_argument("--rounds", type=number(1, 50), default=5, help="rounds; figures are their medians")
    parser.add_argument(
        "--seconds", type=number(1, 60), default=5, help="seconds of load per round and proxy"
    )
    parser.add_argument("--connections", type=number(1, 4000), default=64, help="keep-alive connections")
    parser.add_argument(
        "--body", type=_size, default="100", help="size of the response body, such as 100, 8k or 1M"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    parser.add_argument("--max-ratio", type=float, help="exit 1 if ours costs more than this times nginx")
    values = parser.parse_args(argv)
    if values.max_ratio is not None and not {BASELINE, "ours"} <= set(values.proxies):
        parser.error("--max-ratio compares ours with nginx: both must be among --proxies")
    return Options(**vars(values))


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([kKmM]?)", text)
    size = int(found[1]) * _SIZE_UNITS[found[2].lower()] if found else 0
    if not 1 <= size <= 64 * 1024**2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 1 to 64M, such as 100, 8k or 1M")
    return size
