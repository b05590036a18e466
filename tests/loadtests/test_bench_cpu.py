"""CPU accounting: real /proc/PID/stat lines, and the process tree."""

import subprocess
import sys

import pytest

from loadtests.cpu import (
    TICKS_PER_SECOND,
    CoreTime,
    ProcessStat,
    descendants,
    parse_core_time,
    parse_stat,
    time_of_others,
)

# Fields 4 to 17 of proc(5): ppid is 17; utime stime cutime cstime are 100, 20, 3 and 4.
FIELDS = "S 17 42 42 0 -1 4194304 1210 0 0 0 100 20 3 4 20 0 5 0 1833 33984512 2560 18446744073709551615"


@pytest.mark.parametrize(
    "name",
    ["nginx", "nginx: worker process", "a) R 1 1 (b", "()", ""],
    ids=["plain", "spaces", "parentheses and a state", "only parentheses", "empty"],
)
def test_a_stat_line_is_parsed_whatever_the_name_of_the_command(name: str) -> None:
    assert parse_stat(f"42 ({name}) {FIELDS}\n") == ProcessStat(pid=42, parent=17, ticks=127)


def test_a_tree_has_all_descendants_and_no_others() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1, 21: 20}
    stats = [ProcessStat(pid, parent, 1) for pid, parent in reversed(parents.items())]
    assert {stat.pid for stat in descendants(10, stats)} == {10, 11, 12, 13}


def test_an_ended_process_has_no_tree() -> None:
    assert descendants(99, [ProcessStat(1, 0, 1)]) == []


OWN_TIME = """
import os
from loadtests.cpu import TICKS_PER_SECOND, cpu_seconds
times = os.times()
before = times.user + times.system + times.children_user + times.children_system
seen = cpu_seconds(os.getpid())
times = os.times()
after = times.user + times.system + times.children_user + times.children_system
tolerance = 5 / TICKS_PER_SECOND  # every field is cut to whole ticks
assert before - tolerance <= seen <= after + tolerance, (before, seen, after)
"""


def test_our_own_time_matches_the_systems() -> None:
    subprocess.run([sys.executable, "-c", OWN_TIME], check=True)  # this process may have children


def test_a_core_is_busy_when_it_is_not_idle() -> None:
    stat = (
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 100 20 30 5000 600 7 8 9 50 0\nintr 5 0\n"
    )
    expected = CoreTime(busy=174 / TICKS_PER_SECOND, stolen=9 / TICKS_PER_SECOND)
    assert parse_core_time(stat, 1) == expected


def test_an_unknown_core_is_an_error() -> None:
    with pytest.raises(ValueError, match="no core 7"):
        parse_core_time("cpu0 1 1 1 1 1 1 1 1 0 0\n", 7)


@pytest.mark.parametrize(
    ("busy", "stolen", "own", "others"),
    [
        pytest.param(5.0, 0.0, 5.0, 0.0, id="alone"),
        pytest.param(5.0, 0.0, 3.0, 2.0, id="other processes"),
        pytest.param(5.0, 1.5, 3.5, 1.5, id="stolen, not counted as its own"),
        pytest.param(5.0, 1.5, 5.0, 1.5, id="stolen, counted as its own"),
        pytest.param(4.9, 0.0, 5.0, 0.0, id="ticks are coarse"),
    ],
)
def test_the_share_of_a_core_used_by_others(busy: float, stolen: float, own: float, others: float) -> None:
    after = CoreTime(100.0 + busy, 10.0 + stolen)
    assert time_of_others(CoreTime(100.0, 10.0), after, own) == pytest.approx(others)
