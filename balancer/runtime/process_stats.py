"""Resource usage of a worker process, from /proc (L7); read at scrape."""

import os
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """Resource usage of one process."""

    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    open_fds: int = 0


def read_stats(pid: int) -> ProcessStats | None:
    """None if there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name, in parentheses, may contain anything; utime is field 14, stime field 15.
            fields = file.read().rpartition(b") ")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            resident = int(file.read().split()[1])
        return ProcessStats(
            (int(fields[11]) + int(fields[12])) / _TICKS,
            resident * _PAGE_SIZE,
            len(os.listdir(f"/proc/{pid}/fd")),
        )
    except (OSError, IndexError, ValueError):
        return None
