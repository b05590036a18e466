"""Whether one more worker fits the machine's memory and the container's limit."""

from pathlib import Path

import pytest

from balancer.runtime import memory
from balancer.runtime.memory import WORKER_BYTES


@pytest.mark.parametrize(
    ("machine", "limit", "used", "available"),
    [
        ("MemAvailable: 400000 kB", None, None, 400000 * 1024),
        ("MemAvailable: 400000 kB", "max", "100", 400000 * 1024),
        ("MemAvailable: 400000 kB", "209715200", "104857600", 104857600),
        ("MemAvailable: 4 kB", "209715200", "104857600", 4096),
        (None, "1000", "900", 100),
        (None, None, None, None),
        ("nonsense", "x", "y", None),
    ],
    ids=[
        "no group",
        "no limit",
        "the group has less",
        "the machine has less",
        "only a group",
        "neither",
        "odd",
    ],
)
def test_the_smaller_limit_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str | None,
    limit: str | None,
    used: str | None,
    available: int | None,
) -> None:
    files = {"meminfo": machine, "max": limit, "current": used}
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory.available_bytes() == available
    assert memory.room_for_a_worker() is (available is None or available >= WORKER_BYTES)


def test_this_machine_reports_memory() -> None:
    assert memory.available_bytes()
