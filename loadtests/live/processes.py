"""Processes of a balancer by their pids: whether they run, and what their tree holds."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.memory import resident
from loadtests.cpu import running_tree
from loadtests.errors import BenchError

PATIENCE = 60.0  # seconds
GLANCE = 0.05  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a tree of processes holds: bytes of memory, shared pages counted once, and open descriptors."""

    memory: int
    descriptors: int
    processes: int

    def __str__(self) -> str:
        mib = self.memory / 2**20
        return f"{mib:.1f} MiB, {self.descriptors} descriptors, {self.processes} processes"


def holdings(pid: int) -> Holdings:
    """Those of the tree under `pid`, as of now."""
    pids = [stat.pid for stat in running_tree(pid)]
    return Holdings(resident(pid), sum(map(_descriptors, pids)), len(pids))


def wait(condition: Callable[[], bool], sentence: str, limit: float = PATIENCE) -> None:
    """Wait until it is true. `BenchError` with the sentence if it is not within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{sentence} within {limit:.0f} s")
        time.sleep(GLANCE)


def runs(pid: int) -> bool:
    """Whether it runs; one that has ended and was not waited for does not."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """The state of a process by its letter, proc(5); empty if it is gone."""
    fields = _fields(pid)
    return fields[0] if fields else ""


def of_session(leader: int) -> list[int]:
    """The processes of a session."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _fields(pid)[3:4] == [str(leader)] and runs(pid)]


def start_time(pid: int) -> int:
    """When it was started, in ticks since the machine's start; 0 if it is gone."""
    fields = _fields(pid)
    return int(fields[19]) if fields else 0


def runs_module(pid: int, module: str) -> bool:
    """Whether it is a Python process of that module."""
    try:
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return False


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one, the state; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
