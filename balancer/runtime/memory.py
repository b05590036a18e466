"""How much memory is available on this machine, or in the container (L7)."""

from pathlib import Path

WORKER_BYTES = 96 << 20  # enough for a starting worker; twice what an idle one takes

_MEMINFO = Path("/proc/meminfo")
# cgroup v2 and v1, as a container sees its own: the limit, and the usage.
_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def room_for_a_worker() -> bool:
    """Whether one more worker fits. True if the available memory is unknown."""
    available = available_bytes()
    return available is None or available >= WORKER_BYTES


def available_bytes() -> int | None:
    """Available memory, limited by the machine and by the cgroup; None if both are unknown."""
    found = [_available_here(), *(_left_of_group(limit, used) for limit, used in _GROUPS)]
    known = [one for one in found if one is not None]
    return min(known) if known else None


def _available_here() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _left_of_group(limit: Path, used: Path) -> int | None:
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
