"""CPU accounting: /proc/PID/stat as it really looks, and the process tree."""

import os

import pytest

from loadtests.cpu import TICKS_PER_SECOND, ProcessStat, cpu_seconds, descendants, parse_stat

# Fields 4 to 17 of proc(5): ppid is 17; utime stime cutime cstime are 100, 20, 3 and 4.
FIELDS = "S 17 42 42 0 -1 4194304 1210 0 0 0 100 20 3 4 20 0 5 0 1833 33984512 2560 18446744073709551615"


@pytest.mark.parametrize(
    "name",
    ["nginx", "nginx: worker process", "a) R 1 1 (b", "()", ""],
    ids=["plain", "spaces", "parentheses and a state", "only parentheses", "empty"],
)
def test_a_stat_line_is_read_whatever_the_command_is_called(name: str) -> None:
    assert parse_stat(f"42 ({name}) {FIELDS}\n") == ProcessStat(pid=42, parent=17, ticks=127)


def test_a_tree_holds_all_descendants_and_no_others() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1, 21: 20}
    stats = [ProcessStat(pid, parent, 1) for pid, parent in reversed(parents.items())]
    assert {stat.pid for stat in descendants(10, stats)} == {10, 11, 12, 13}


def test_a_process_that_is_gone_has_no_tree() -> None:
    assert descendants(99, [ProcessStat(1, 0, 1)]) == []


def test_our_own_time_is_what_the_system_says() -> None:
    times = os.times()
    before = times.user + times.system + times.children_user + times.children_system
    seen = cpu_seconds(os.getpid())
    times = os.times()
    after = times.user + times.system + times.children_user + times.children_system
    tolerance = 5 / TICKS_PER_SECOND  # every field is cut to whole ticks
    assert before - tolerance <= seen <= after + tolerance
