"""Decisions are numbered files, and the index has all of them by their titles."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/decisions"
FILES = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| (\d{4}) \| \[(.*)\]\((.*)\) \|$", INDEX, re.MULTILINE)


def test_numbers_have_no_gaps() -> None:
    assert [name[:4] for name in FILES] == [f"{number:04}" for number in range(1, len(FILES) + 1)]


def test_names_are_short_words() -> None:
    assert [name for name in FILES if not re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", name)] == []


def test_the_index_has_each_with_its_number_and_title() -> None:
    titles = {name: (FOLDER / name).read_text(encoding="utf-8").partition("\n")[0] for name in FILES}
    assert sorted(LINES) == [(name[:4], titles[name].removeprefix("# "), name) for name in FILES]
