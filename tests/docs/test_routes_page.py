"""Every example of docs/routes.md is valid, and those that should be the same are."""

import re
from pathlib import Path
from typing import Any

import pytest

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.policies import registry

_PAGE = (Path(__file__).parents[2] / "docs/routes.md").read_text(encoding="utf-8")
_POOLS = "upstreams: w:80\npools: {api: {upstreams: a:80}, web: {upstreams: b:80}}\n"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def _variables(block: str) -> dict[str, str]:
    return dict(re.findall(r'^(BALANCER_\w+)="?([^"\n#]*?)"?(?: +#.*)?$', block, re.MULTILINE))


def _loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "balancer.yaml"
    file.write_text(text, encoding="utf-8")
    return load({}, str(file), registry)


def test_the_first_example_has_three_pools() -> None:
    settings = load(_variables(_blocks("sh")[0]), None, registry)
    assert [len(settings.upstreams), *(len(pool.upstreams) for pool in settings.pools.values())] == [2, 2, 1]
    assert [route.pool for route in settings.routes] == ["api", "static", "default"]
    assert settings.pools["api"].limits.max_inflight == 20


def test_the_long_form_is_valid(tmp_path: Path) -> None:
    page = tmp_path / "maintenance.html"
    page.write_text("later", encoding="utf-8")
    (text,) = (block for block in _blocks("yaml") if block.startswith("routes:"))
    settings = _loaded(tmp_path, _POOLS + text.replace("/run/maintenance.html", str(page)))
    assert [route.name for route in settings.routes] == ["shop-api", "redirect", "respond", "default"]


def test_the_example_from_nginx_is_the_same_in_both_forms(tmp_path: Path) -> None:
    (variables,) = (block for block in _blocks("sh") if "weight=3" in block)
    (file,) = (block for block in _blocks("yaml") if "weight=3" in block)
    by_environment = load(_variables(variables), None, registry).model_dump(exclude={"config"})
    assert _loaded(tmp_path, file).model_dump(exclude={"config"}) == by_environment


ROWS = re.findall(r"^\| (?:nginx|HAProxy|Traefik) .*\| (.+) \|$", _PAGE, re.MULTILINE)


@pytest.mark.parametrize("written", [cell.strip("`") for cell in ROWS if cell.startswith("`")])
def test_each_line_of_the_table_is_valid(tmp_path: Path, written: str) -> None:
    if re.match(r"[a-z_]+: ", written):  # a part of a route
        written = f"{{{written}}}" if "match:" in written else f"{{match: {{path_prefix: /x}}, {written}}}"
        written = f"{written[:-1]}, pool: api}}"
    elif not written.startswith("{"):
        written = f'"{written}"'
    routes: Any = _loaded(tmp_path, f"{_POOLS}routes:\n  - {written}\n").routes
    assert len(routes) == 1


def test_the_table_has_lines() -> None:
    assert len(ROWS) > 10
