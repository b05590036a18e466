"""User instructions per exchange, counted by cachegrind (`make instructions`).

The count is free of noise: run it before and after each change of the request path. The real proxy runs on
the tests' scripted wire, so the count has only our own code and a little of the wire, without sockets, uvloop
and the kernel. Each kind of traffic is played twice, with few and with more exchanges, and the difference is
divided by the additional exchanges, so start-up and warm-up do not count. The same code and interpreter give
the same figure within some hundredths of a percent. Exits 1 if a count exceeds its committed bound.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtests import builds, command
from loadtests.arguments import names
from loadtests.builds import Build
from loadtests.errors import BenchError
from loadtests.instructions import bounds
from loadtests.instructions.bounds import Bounds
from loadtests.instructions.count import count
from loadtests.instructions.traffic import KINDS

CHECKED = ("same", "another")  # by --check, in under a minute for each build


def main(argv: Sequence[str] | None = None) -> int:
    """Count, print a table, and return the exit code: 1 if a bound is exceeded."""
    options = _parser().parse_args(argv)
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        _parser().error(f"unknown kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    kinds = options.kinds or (CHECKED if options.check else tuple(KINDS))
    return command.run("instructions", lambda: _measure(kinds, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.instructions", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("kinds", nargs="*", help=f"what to count: {', '.join(KINDS)} (default: all)")
    parser.add_argument(
        "--builds",
        type=names(builds.BUILDS),
        help="count these builds, and fail without one (default: plain, and compiled where it is)",
    )
    parser.add_argument(
        "--compiled", type=Path, default=builds.COMPILED, metavar="DIR", help="where the compiled package is"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"count {' and '.join(CHECKED)}; fail where no bound is known",
    )
    parser.add_argument("--write", action="store_true", help="make the counts the new committed bounds")
    parser.add_argument("--most", type=int, metavar="N", help="fail if `same` takes more instructions")
    return parser


def _measure(kinds: Sequence[str], options: argparse.Namespace) -> int:
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind not found: on Debian, apt-get install valgrind")
    console = Console(width=None if sys.stdout.isatty() else 110)
    versions = bounds.running()
    console.print(f"counted with {versions}", highlight=False)
    known = bounds.read(versions)
    if known is not None and known.versions != versions:
        console.print(f"the bounds were made with {known.versions}", highlight=False)
    counts: dict[str, dict[str, float]] = {}
    for build in _builds(options.builds, options.compiled, console):
        with console.status(f"counting {build.name} ..."):
            counts[build.name] = count(kinds, build)
    console.print(_table(counts, known))
    if options.write:
        bounds.write(versions, counts)
        return 0
    return _verdict(counts, known, options)


def _builds(wanted: Sequence[str] | None, directory: Path, console: Console) -> list[Build]:
    found = []
    for name in wanted or builds.BUILDS:
        try:
            found.append(builds.plain() if name == "plain" else builds.compiled(directory))
        except BenchError as error:
            if wanted is not None or name == "plain":
                raise
            console.print(f"compiled is left out: {error}", highlight=False)
    return found


def _table(counts: Mapping[str, Mapping[str, float]], known: Bounds | None) -> Table:
    table = Table(title="user instructions per exchange", title_justify="left")
    table.add_column("exchange")
    for build in counts:
        table.add_column(build, justify="right")
        table.add_column("bound", justify="right")
    for kind in next(iter(counts.values())):
        cells = []
        for build, own in counts.items():
            most = known.most.get(build, {}).get(kind) if known is not None else None
            cells += [f"{own[kind]:,.0f}", f"{most:,}" if most is not None else "-"]
        table.add_row(f"{kind}: {KINDS[kind].text}", *cells)
    return table


def _verdict(
    counts: Mapping[str, Mapping[str, float]], known: Bounds | None, options: argparse.Namespace
) -> int:
    if known is None:
        missing = f"there are no bounds for CPython {bounds.running().interpreter}"
        if options.check:
            raise BenchError(f"{missing}: make them by --write, and commit {bounds.FILE.name}")
        print(missing)
        known = Bounds(bounds.running(), {})
    failures = []
    for build, own in counts.items():
        if build in known.most or options.check:
            failures += [f"{build}: {one}" for one in bounds.exceeded(own, known.most.get(build, {}))]
        if options.most is not None and own.get("same", 0) > options.most:
            failures.append(
                f"{build}: {own['same']:,.0f} instructions for a repeated request; "
                f"--most allows {options.most:,}"
            )
    if failures:
        raise BenchError("; ".join(failures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
