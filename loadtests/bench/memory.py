"""The memory of a process and all its descendants."""

from pathlib import Path

from loadtests.cpu import running_tree


def resident(root: int) -> int:
    """Bytes in memory, with pages that processes share counted once among them (PSS)."""
    return sum(_pss(stat.pid) for stat in running_tree(root))


def parse_rollup(text: str) -> int:
    """The PSS in bytes of a /proc/PID/smaps_rollup, proc(5)."""
    line = next((one for one in text.splitlines() if one.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024


def _pss(pid: int) -> int:
    try:
        return parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0  # it ended between the listing and the read
