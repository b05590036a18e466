"""When changed files are read again, and when it is reported that they cannot be used."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from balancer.config.file_stamps import Stamp, stamp, stamps
from balancer.config.file_watch import PATIENCE, FileWatch


def at(certificate: int, key: int) -> dict[str, Stamp]:
    return {"site.pem": (0, certificate, 0, 0, 0), "site.key": (0, key, 0, 0, 0)}


def watch() -> FileWatch:
    return FileWatch(("site.pem", "site.key"), at(1, 1))


def test_unchanged_files_are_not_read() -> None:
    files = watch()
    assert [files.has_changed(at(1, 1)) for _ in range(3)] == [False] * 3


def test_each_change_of_one_of_them_is_read_once() -> None:
    files = watch()
    seen = [at(2, 1), at(2, 1), at(2, 2), at(2, 2), {}, {}, at(1, 1)]
    assert [files.has_changed(each) for each in seen] == [True, False, True, False, True, False, True]


def test_files_that_could_not_be_looked_at_are_read_again() -> None:
    files = watch()
    assert files.has_changed(at(2, 2))
    files.not_read()
    assert files.has_changed(at(2, 2))
    assert not files.has_changed(at(2, 2))


def test_the_second_file_of_a_pair_may_come_a_little_later() -> None:
    files = watch()
    files.bad("it does not fit", 10.0)
    assert files.complaint(10.0 + PATIENCE - 0.1) == ""
    assert not files.good()
    assert files.complaint(10.0 + PATIENCE) == ""


def test_a_problem_that_stays_is_reported_once_per_change() -> None:
    files = watch()
    files.bad("it does not fit", 10.0)
    files.bad("it is empty", 12.0)
    assert [files.complaint(10.0 + PATIENCE + more) for more in range(3)] == ["it is empty", "", ""]
    assert files.problem == "it is empty"
    files.bad("it is gone", 100.0)
    assert files.complaint(100.0) == ""
    assert files.complaint(100.0 + PATIENCE) == "it is gone"
    assert files.good()
    assert files.problem == ""


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=50))
def test_a_problem_is_never_reported_before_its_time_nor_after_its_end(
    turns: list[tuple[bool, float]],
) -> None:
    files, now, bad_since = watch(), 0.0, None
    for good, pause in turns:
        now += pause
        if good:
            files.good()
            bad_since = None
        else:
            files.bad("bad", now)
            bad_since = now if bad_since is None else bad_since
        if files.complaint(now):
            assert bad_since is not None
            assert now - bad_since >= PATIENCE
            bad_since = None
        assert bad_since is None or now - bad_since < PATIENCE


def test_a_stamp_is_that_of_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    first, second, link, new = (tmp_path / name for name in ("1", "2", "link", "new"))
    first.write_text("same")
    second.write_text("same")
    link.symlink_to(first)
    before = stamp(str(link))
    assert before == stamp(str(first))
    new.symlink_to(second)
    new.rename(link)
    assert stamp(str(link)) == stamp(str(second)) != before
    second.unlink()
    assert stamps([str(link), "/run/\0"]) == {str(link): None, "/run/\0": None}


def test_content_of_the_same_length_has_another_stamp(tmp_path: Path) -> None:
    file = tmp_path / "site.pem"
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    before = stamp(str(file))
    file.write_text("two")
    assert stamp(str(file)) != before
