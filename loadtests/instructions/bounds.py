"""The committed bounds: how many instructions each kind may take, by interpreter and build.

`bounds.json` lists, for each minor version of CPython, with profile-guided optimisation (PGO) or without, the
exact version and the packages that it was counted with, and the bound of every kind for each build.
"""

import json
import math
import platform
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

FILE = Path(__file__).parent / "bounds.json"
SLACK = 1.01  # a bound is the count of its day and this much more
PACKAGES = ("httptools", "msgspec", "orjson")  # what is counted beside ours and the interpreter


@dataclass(frozen=True, slots=True)
class Versions:
    """An interpreter, such as "3.11.7" or "3.11.7 PGO", and the packages that count."""

    python: str
    packages: Mapping[str, str]

    @property
    def interpreter(self) -> str:
        """Without the last number: counts differ by several percent between those, hardly within one."""
        version, *build = self.python.split(" ")
        return " ".join([version.rpartition(".")[0], *build])

    def __str__(self) -> str:
        return ", ".join(
            [f"CPython {self.python}", *(f"{name} {one}" for name, one in self.packages.items())]
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was counted with these versions. `most` is by build and kind."""

    versions: Versions
    most: Mapping[str, Mapping[str, int]]


def running(more: Sequence[str] = ()) -> Versions:
    """The versions of this process, which the counted processes share, and those of more packages."""
    python = platform.python_version()
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        python += " PGO"
    return Versions(python, {name: metadata.version(name) for name in (*PACKAGES, *more)})


def read(versions: Versions, file: Path = FILE) -> Bounds | None:
    """The bounds for an interpreter, None if there are none."""
    entry = json.loads(file.read_text()).get(versions.interpreter)
    if entry is None:
        return None
    return Bounds(Versions(entry["python"], entry["packages"]), entry["most"])


def write(versions: Versions, counts: Mapping[str, Mapping[str, float]], file: Path = FILE) -> None:
    """Make bounds of counts, by build and kind; those of other kinds, builds and interpreters stay."""
    document = json.loads(file.read_text())
    before = document.get(versions.interpreter, {"most": {}})["most"]
    most = {
        build: before.get(build, {}) | {kind: bound(one) for kind, one in counts.get(build, {}).items()}
        for build in dict.fromkeys([*before, *counts])
    }
    document[versions.interpreter] = {
        "python": versions.python,
        "packages": dict(versions.packages),
        "most": most,
    }
    file.write_text(json.dumps(document, indent=2) + "\n")


def bound(count: float) -> int:
    """The bound made of a count: rounded up to a hundred."""
    return math.ceil(count * SLACK / 100) * 100


def exceeded(counts: Mapping[str, float], most: Mapping[str, int]) -> list[str]:
    """A sentence for each kind that takes more than it may, or has no bound."""
    found = []
    for kind, one in counts.items():
        if kind not in most:
            found.append(f"{kind} has no bound")
        elif one > most[kind]:
            found.append(f"{kind} takes {one:,.0f} instructions; the bound is {most[kind]:,}")
    return found
