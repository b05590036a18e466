"""CPUs that a container may use, from invented /proc and /sys trees."""

from pathlib import Path

import pytest

from balancer.config.cpus import usable_cpus

_V1_GROUP = {"proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n"}
_V2_GROUP = {"proc/self/cgroup": "0::/app.slice/web\n"}


@pytest.mark.parametrize(
    ("files", "affinity", "cpus"),
    [
        pytest.param({}, 8, 8, id="no_cgroup"),
        pytest.param({"sys/fs/cgroup/cpu.max": "max 100000"}, 8, 8, id="v2_without_quota"),
        pytest.param({"sys/fs/cgroup/cpu.max": "200000 100000"}, 8, 2, id="v2_quota"),
        pytest.param({"sys/fs/cgroup/cpu.max": "150000 100000"}, 8, 2, id="v2_part_of_a_cpu_rounds_up"),
        pytest.param({"sys/fs/cgroup/cpu.max": "10000 100000"}, 8, 1, id="v2_at_least_one"),
        pytest.param({"sys/fs/cgroup/cpu.max": "800000 100000"}, 2, 2, id="affinity_is_tighter"),
        pytest.param(
            {**_V2_GROUP, "sys/fs/cgroup/app.slice/web/cpu.max": "400000 100000"}, 8, 4, id="v2_own_group"
        ),
        pytest.param(
            {
                **_V2_GROUP,
                "sys/fs/cgroup/app.slice/web/cpu.max": "400000 100000",
                "sys/fs/cgroup/app.slice/cpu.max": "300000 100000",
            },
            8,
            3,
            id="v2_tighter_parent",
        ),
        pytest.param(
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            8,
            8,
            id="v1_without_quota",
        ),
        pytest.param(
            {
                **_V1_GROUP,
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
            },
            8,
            3,
            id="v1_own_group",
        ),
        pytest.param({"sys/fs/cgroup/cpu.max": "what is this"}, 8, 8, id="unreadable"),
        pytest.param({"sys/fs/cgroup/cpu.max": "100 0"}, 8, 8, id="period_0"),
    ],
)
def test_usable_cpus(tmp_path: Path, files: dict[str, str], affinity: int, cpus: int) -> None:
    for name, content in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert usable_cpus(tmp_path, affinity) == cpus


def test_this_machine_has_cpus() -> None:
    assert usable_cpus() >= 1
