"""The pages for browsers: how they are served, and what their files may not contain."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from balancer.admin import pages
from tests.admin.harness import AdminClient

FILES = sorted(pages.files())
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
TYPES = {
    "dashboard.html": "text/html; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
# Ways by which text becomes markup or code.
PARSING = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc"
    r"|setHTML|\beval\b|new Function|trustedTypes|javascript:"
)


def text_of(name: str) -> str:
    return pages.files()[name].body.decode()


@pytest.mark.parametrize(("name", "type"), TYPES.items(), ids=TYPES)
async def test_an_asset_has_its_type_and_the_strict_policy(client: AdminClient, name: str, type: str) -> None:
    response = await client.get(f"/assets/{name}")
    assert (response.status, response.headers["Content-Type"]) == (200, type)
    assert await response.read() == pages.files()[name].body
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"


async def test_what_a_browser_has_is_not_sent_again(client: AdminClient) -> None:
    first = await client.get("/assets/main.js")
    again = await client.get("/assets/main.js", headers={"If-None-Match": first.headers["ETag"]})
    other = await client.get("/assets/main.js", headers={"If-None-Match": '"other"'})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Content-Security-Policy"] == POLICY
    assert other.status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%2e%2e%2fpages.py", "main.js%00", ".", ""])
async def test_there_is_nothing_beside_the_files(client: AdminClient, name: str) -> None:
    response = await client.get(f"/assets/{name}")
    assert response.status == 404
    assert "error" in await response.json()


def test_the_package_contains_all_files() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["balancer"]
    assert all(any(fnmatch(f"admin/pages/{name}", one) for one in patterns) for name in FILES)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_a_script_makes_no_markup_of_text(name: str) -> None:
    code = "\n".join(line.split("//")[0] for line in text_of(name).splitlines())
    assert PARSING.findall(code) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_loads_nothing_from_elsewhere(name: str) -> None:
    """The only URL is the name of the SVG namespace."""
    urls = re.findall(r"\b(?:https?|wss?):/?/?[^\s\"')]*|[\"'(]//[^\s\"')]+", text_of(name))
    assert [url for url in urls if url != "http://www.w3.org/2000/svg"] == []


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".html")])
def test_a_page_has_no_code_and_no_style_of_its_own(name: str) -> None:
    """The policy would prevent it, and nobody would notice but in the console."""
    found = re.findall(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=\"assets/)", text_of(name))
    assert found == []


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".js", ".html"))])
def test_all_that_a_file_names_is_there(name: str) -> None:
    named = re.findall(r"from \"\./([^\"]+)\"|\"assets/([^\"]+)\"", text_of(name))
    assert {one or other for one, other in named} <= set(FILES)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER["Accept"], "text/html"),
        ("application/json, Text/HTML;level=1", "text/html"),
        ("*/*", "text/plain"),
        ("text/html;q=0, text/plain", "text/plain"),
        ("text/html; q=0.0", "text/plain"),
        ("text/plain", "text/plain"),
        ("", "text/plain"),
    ],
)
async def test_browsers_get_the_dashboard_at_the_root_and_others_the_list_of_paths(
    client: AdminClient, accept: str, kind: str
) -> None:
    response = await client.get("/", headers={"Accept": accept})
    assert (response.status, response.content_type) == (200, kind)
    assert response.headers["Vary"] == "Accept"
    assert ("Content-Security-Policy" in response.headers) is (kind == "text/html")


async def test_a_browser_keeps_the_dashboard_until_it_is_another_one(client: AdminClient) -> None:
    first = await client.get("/", headers=BROWSER)
    again = await client.get("/", headers={**BROWSER, "If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert again.headers["Vary"] == "Accept"
