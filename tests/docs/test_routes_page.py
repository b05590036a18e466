"""Every example of docs/routes.md is valid, and those that should be the same are."""

import re
from pathlib import Path
from typing import Any

import pytest

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.policies import registry

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/routes.md").read_text(encoding="utf-8")
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_POOLS = "upstreams: w:80\npools: {api: {upstreams: a:80}, web: {upstreams: b:80}}\n"


def _blocks(language: str, page: str = _PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _variables(block: str) -> dict[str, str]:
    return dict(re.findall(r'^(?:export )?(BALANCER_\w+)="?([^"\n#]*?)"?(?: +#.*)?$', block, re.MULTILINE))


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


@pytest.mark.parametrize("page", [_PAGE, _README], ids=["routes.md", "README.md"])
def test_the_example_from_nginx_is_the_same_in_both_forms(tmp_path: Path, page: str) -> None:
    (variables,) = (
        block
        for block in _blocks("sh", page)
        if "BALANCER_POOLS__API__UPSTREAMS=" in block and "weight=3" in block
    )
    (file,) = (block for block in _blocks("yaml", page) if "weight=3" in block)
    by_environment = load(_variables(variables), None, registry)
    by_file = _loaded(tmp_path, file)
    assert by_file.model_dump(exclude={"config"}) == by_environment.model_dump(exclude={"config"})
    api = by_file.pools["api"]
    assert [one.weight for one in api.upstreams] == [3, 3, 1]
    assert (api.policy, api.keepalive.max_idle) == ("least_connections", 32)
    assert [(route.match.path_prefix, route.pool) for route in by_file.routes] == [
        (("/api/",), "api"),
        (("/static/",), "static"),
    ]


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
