"""The site has every page, and what is written in the repository's top folder leads where it says."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
DECISIONS = [page for page in PAGES if page.parent.name == "decisions" and page.name != "README.md"]
# Decisions are reached by their index: test_decisions.py looks at it.
DIRECT = [page for page in PAGES if page not in DECISIONS]
FILES = [
    *PAGES,
    *sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("examples/*.md")]),
]
# Files in the top folder that the site takes in, as docs/site_build.py has it.
FROM_TOP = {"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}

_CODE = re.compile(r"^(```+).*?^\1$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Passes over the tags that name a function of mkdocs'."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def _navigation(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
            continue
        for below in entry.values():
            yield from _navigation(below) if isinstance(below, list) else [below]


def _anchors(text: str) -> set[str]:
    """Those that a forge makes of the headings."""
    headings = (heading.strip().lower() for heading in _HEADING.findall(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def _links(file: Path) -> list[str]:
    text = _CODE.sub("", (ROOT / file).read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(text) if not link.startswith(("http://", "https://", "mailto:"))]


def test_every_page_is_in_the_navigation_once() -> None:
    # The function tags need another loader than the safe one; it makes nothing of them.
    content = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)
    shown = list(_navigation(content["nav"]))
    pages = [str(page.relative_to("docs")) for page in DIRECT]
    assert sorted(shown) == sorted([*pages, *(name.lower() for name in FROM_TOP)])


@pytest.mark.parametrize("file", FILES, ids=str)
def test_links_lead_to_a_file_and_a_heading(file: Path) -> None:
    broken = []
    for link in _links(file):
        path, _, anchor = link.partition("#")
        target = (ROOT / file.parent / path).resolve() if path else ROOT / file
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages_of_the_site_link_to_what_the_site_has(page: Path) -> None:
    """Other files of the repository would be broken links there."""
    inside = {*(ROOT / path for path in PAGES), *(ROOT / name for name in FROM_TOP)}
    inside |= {*(ROOT / "docs").rglob("*.svg"), *(ROOT / "docs").rglob("*.png")}
    targets = [
        (ROOT / page.parent / link.partition("#")[0]).resolve() for link in _links(page) if link[0] != "#"
    ]
    assert [str(target) for target in targets if target not in inside] == []


@pytest.mark.parametrize("page", DIRECT, ids=str)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    if page.name != "index.md":
        assert str(page) in {link.partition("#")[0] for link in _links(Path("README.md"))}
