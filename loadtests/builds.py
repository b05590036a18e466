"""Which build of the package a measured process imports: the checkout's plain Python, or a compiled copy."""

import filecmp
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from loadtests.errors import BenchError

ROOT = Path(__file__).parent.parent
COMPILED = ROOT / "build" / "compiled"  # made by `make compiled`
BUILDS = ("compiled", "plain")
_PACKAGE = "balancer"
_COMPILED_MODULE = "balancer.http.head"  # in one of the rooms that are compiled


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the package; `directory` contains the package."""

    name: str
    directory: Path

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment for a Python process that imports this build, and `loadtests` from the checkout."""
        path = dict.fromkeys((str(self.directory), str(ROOT)))
        # With a safe path `-m` does not put the working directory, often the checkout, before the others.
        return {**base, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}


def plain() -> Build:
    """The checkout's own package; `BenchError` if an extension there shadows its source."""
    extension = next(_extensions(ROOT / _PACKAGE), None)
    if extension is not None:
        raise BenchError(f"{extension} shadows its source in the checkout: remove it to measure plain Python")
    return Build("plain", ROOT)


def compiled(directory: Path) -> Build:
    """The compiled package in a directory; `BenchError` if there is none, or its source is not ours."""
    package = directory / _PACKAGE
    if next(_extensions(package), None) is None:
        raise BenchError(f"no compiled package in {directory}: run `make compiled`")
    if (directory / "loadtests").exists():
        raise BenchError(f"{directory} contains more than the package, and would shadow the checkout's files")
    stale = next(_differing(ROOT / _PACKAGE, package), None)
    if stale is not None:
        raise BenchError(f"the compiled package in {directory} is stale ({stale}): run `make compiled`")
    return Build("compiled", directory)


def imported() -> str:
    """The name of the build that this process imports."""
    __import__(_COMPILED_MODULE)
    file = sys.modules[_COMPILED_MODULE].__file__ or ""
    return "compiled" if file.endswith(tuple(EXTENSION_SUFFIXES)) else "plain"


def _extensions(package: Path) -> "filter[Path]":
    return filter(lambda file: file.name.endswith(tuple(EXTENSION_SUFFIXES)), package.rglob("*.so"))


def _differing(ours: Path, theirs: Path) -> "filter[Path]":
    """Sources that are not the same on both sides, relative to the package."""
    names = {file.relative_to(ours) for file in ours.rglob("*.py")}
    names |= {file.relative_to(theirs) for file in theirs.rglob("*.py")}

    def differs(name: Path) -> bool:
        a, b = ours / name, theirs / name
        return not (a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False))

    return filter(differs, sorted(names))
