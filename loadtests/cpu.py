"""The CPU time of a process and all its descendants, and the load of a core, from /proc."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SCHEDULED = 2  # the kernel's CPUCLOCK_SCHED: pid and this identify a process's CPU clock
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of a /proc/PID/stat line that matter here.

    `ticks` is user and system time of the process, and of its children that have ended and been waited for.
    """

    pid: int
    parent: int
    ticks: int


def parse_stat(line: str) -> ProcessStat:
    """Read one /proc/PID/stat line, proc(5). The command name may contain spaces and parentheses."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()  # from field 3 of proc(5), the state
    return ProcessStat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        ticks=sum(int(field) for field in fields[11:15]),  # utime stime cutime cstime
    )


def descendants(root: int, stats: Iterable[ProcessStat]) -> list[ProcessStat]:
    """The process `root`, its children, their children, and so on; empty if `root` does not exist."""
    children: defaultdict[int, list[ProcessStat]] = defaultdict(list)
    found: list[ProcessStat] = []
    for stat in stats:
        children[stat.parent].append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:  # grows while it is walked: breadth first
        found.extend(children[stat.pid])
    return found


def running_tree(root: int) -> list[ProcessStat]:
    """The running process `root` with its descendants, as of now."""
    return descendants(root, _all_stats())


def cpu_seconds(root: int) -> float:
    """User and system time that the tree under `root` has used since it started, in seconds."""
    return sum(stat.ticks for stat in running_tree(root)) / TICKS_PER_SECOND


def tree_seconds(root: int) -> float:
    """The same without ended processes, to the nanosecond: each process's own CPU clock."""
    total = 0.0
    for stat in running_tree(root):
        try:
            total += time.clock_gettime(~stat.pid << 3 | _SCHEDULED)
        except OSError:
            continue  # it ended between the listing and the read
    return total


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Seconds since the start that a core was not idle, and how many of them the host has stolen."""

    busy: float
    stolen: float


def parse_core_time(stat: str, core: int) -> CoreTime:
    """Read one core's line of /proc/stat, proc(5)."""
    for line in stat.splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            busy = user + nice + system + irq + softirq + steal
            return CoreTime(busy / TICKS_PER_SECOND, steal / TICKS_PER_SECOND)
    raise ValueError(f"/proc/stat has no core {core}")


def core_time(core: int) -> CoreTime:
    """The core's times as of now."""
    return parse_core_time(Path("/proc/stat").read_text(), core)


def time_of_others(before: CoreTime, after: CoreTime, own: float) -> float:
    """Seconds of a core that did not go to the process that used `own` seconds of it.

    Some kernels count stolen time as the running process's own, so the result is at least the stolen time.
    """
    return max(after.stolen - before.stolen, after.busy - before.busy - own, 0.0)


def _all_stats() -> Iterable[ProcessStat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "stat").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the listing and the read
            yield parse_stat(line)
