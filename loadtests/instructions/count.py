"""Counts the instructions of each kind of traffic: cachegrind, with few and with more exchanges."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtests.builds import Build
from loadtests.errors import BenchError
from loadtests.instructions.traffic import EXCHANGES

SHORT, LONG = 500, EXCHANGES  # exchanges
_SECONDS = 1_800.0  # the limit for all kinds, which take a minute or two


def count(kinds: Sequence[str], build: Build) -> dict[str, float]:
    """Instructions per exchange of each kind, in a build."""
    with tempfile.TemporaryDirectory(prefix="balancer-instructions-") as name:
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={name}/%p"]
        play = [sys.executable, "-m", "loadtests.instructions.play", *kinds]
        done = subprocess.run(
            [*valgrind, *play, "--exchanges", str(SHORT), str(LONG)],
            env=build.environment() | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"playing the {build.name} build failed: {done.stderr.strip()[-500:]}")
        imported, *plays = done.stdout.splitlines()
        if imported != build.name:
            raise BenchError(f"{imported} was counted, not the {build.name} build")
        totals = {
            (kind, int(exchanges)): total((Path(name) / pid).read_text())
            for kind, exchanges, pid in map(str.split, plays)
        }
    return {kind: (totals[kind, LONG] - totals[kind, SHORT]) / (LONG - SHORT) for kind in kinds}


def total(text: str) -> int:
    """The instructions in cachegrind's file: of a process, and of its parent before the fork."""
    summary = next(line for line in text.splitlines() if line.startswith("summary:"))
    return int(summary.split()[1])
