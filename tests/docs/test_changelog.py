"""The changelog keeps to keepachangelog.com: releases in order, and each section once."""

import re
from itertools import pairwise
from pathlib import Path

from balancer import __version__
from loadtests.bench.cases import CASES

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
RELEASES = re.findall(r"^## \[(.*?)\](?: - (\S.*))?$", TEXT, re.MULTILINE)


def test_the_number_of_cases_of_the_bench_is_right() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"in {len(CASES)} cases" in " ".join(TEXT.split())
    assert f"in {len(CASES)} cases" in " ".join(readme.split())


def test_it_begins_with_what_is_unreleased() -> None:
    assert RELEASES[0] == ("Unreleased", "")
    assert len(RELEASES) == len(re.findall(r"^## ", TEXT, re.MULTILINE)), "a heading of another form"


def test_the_version_of_the_package_has_a_heading() -> None:
    assert __version__ in [release for release, _ in RELEASES]


def test_releases_have_dates_and_the_newest_is_first() -> None:
    dated = [(tuple(map(int, release.split("."))), date) for release, date in RELEASES[1:]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d|not yet released", date) for _, date in dated)
    assert all(newer > older for (newer, _), (older, _) in pairwise(dated))


def test_each_release_has_each_section_once_and_in_order() -> None:
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        found = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert found == [section for section in SECTIONS if section in found]
