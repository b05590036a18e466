"""How many CPUs this container may use (L1): affinity, and the CPU quota of cgroup v2 or v1, rounded up."""

import math
import os
from pathlib import Path


def usable_cpus(root: Path = Path("/"), affinity: int | None = None) -> int:
    """At least 1. `root` is the directory of /proc and /sys, `affinity` the CPUs the scheduler allows."""
    allowed = len(os.sched_getaffinity(0)) if affinity is None else affinity
    quota = _quota_v2(root)
    if quota is None:
        quota = _quota_v1(root)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _quota_v2(root: Path) -> float | None:
    quotas = []
    for group in _groups(root / "sys/fs/cgroup", _own_group(root, "")):
        limit, _, period = _read(group / "cpu.max").partition(" ")
        if limit.isdigit() and period.isdigit() and int(period):
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def _quota_v1(root: Path) -> float | None:
    quotas = []
    for group in _groups(root / "sys/fs/cgroup/cpu", _own_group(root, "cpu")):
        limit, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if limit.isdigit() and period.isdigit() and int(period):  # "-1" means no quota
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def _own_group(root: Path, controller: str) -> str:
    """This process's group for a v1 controller, or for v2 (whose line has no controller); cgroups(7)."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return path.strip("/")
    return ""


def _groups(mount: Path, own: str) -> list[Path]:
    # The tightest limit of a group and its parents counts. In a container's own cgroup namespace, or if the
    # path is the host's and not visible here, only the mount point itself exists.
    group = mount / own
    return [group, *(parent for parent in group.parents if parent.is_relative_to(mount))]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
