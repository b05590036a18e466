"""Every file and command of docs/one-site.md does what it says."""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.policies import registry
from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import running

pytestmark = pytest.mark.integration

_PAGE = (Path(__file__).parents[2] / "docs/one-site.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"dns://(\w+):\d+")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


COMPOSE = [block for block in _blocks("yaml") if block.startswith("services:")]
(FILE,) = [block for block in _blocks("yaml") if block.startswith("# balancer.yaml")]
(CLOSED,) = [block for block in _blocks("yaml") if block.startswith("routes:")]
# Each command with the lines that it prints; `...` stands for any others.
COMMANDS: list[tuple[list[str], list[str]]] = []
for _line in "".join(_blocks("console")).splitlines():
    if _line.startswith("$ balancer "):
        COMMANDS.append((_line.split()[2:], []))
    else:
        COMMANDS[-1][1].append(_line)
OFFLINE = [one for one in COMMANDS if "--config" in one[0]]
((STATUS, SHOWN), (READ_ONLY, SAID)) = [one for one in COMMANDS if "--config" not in one[0]]


def settings_of(compose: str) -> Settings:
    """Those of the service `balancer`."""
    services: Mapping[str, Any] = yaml.safe_load(compose)["services"]
    assert set(_NAMED.findall(compose)) == set(services) - {"balancer"}
    return load(services["balancer"]["environment"], None, registry)


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "balancer.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def balancer(words: Sequence[str], **settings: str) -> list[str]:
    """What a command prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    done = run("balancer", *words, environ={**environ, "COLUMNS": "100", **settings})
    assert (done.returncode, done.stderr) == (0, "")
    return [line.rstrip() for line in done.stdout.splitlines()]


def matches(lines: list[str], shown: list[str]) -> bool:
    """Whether the lines are those of the page, with others where it has `...`."""
    parts = [re.escape(line) + "\n" if line != "..." else "(?:.*\n)*" for line in shown]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in lines)) is not None


@pytest.mark.parametrize(
    ("step", "pools", "routes"),
    [
        (0, ["default"], ["default"]),
        (1, ["api", "default", "static"], ["api", "static", "default"]),
        (2, ["api", "default", "help", "static"], ["help", "api", "static", "default"]),
        (3, ["api", "default", "help", "static"], ["help", "upload", "api", "static", "default"]),
    ],
)
def test_each_step_has_its_pools_and_routes(step: int, pools: list[str], routes: list[str]) -> None:
    settings = settings_of(COMPOSE[step])
    assert sorted([*settings.pools, "default"]) == pools
    assert [route.name for route in settings.routes] in (routes, [] if step == 0 else routes)


def test_checks_are_those_of_the_top_but_where_a_pool_has_its_own() -> None:
    settings = settings_of(COMPOSE[1])
    assert settings.health_check.path == "/healthz"
    assert settings.pools["api"].health_check.path == "/healthz"
    assert settings.pools["static"].health_check.path == "/"


def test_the_file_and_the_environment_say_the_same(tmp_path: Path) -> None:
    by_file = load({}, written(tmp_path, FILE), registry)
    assert by_file.model_dump(exclude={"config"}) == settings_of(COMPOSE[3]).model_dump(exclude={"config"})
    upload = by_file.routes[1]
    assert (upload.timeouts.first_byte, upload.limits.body_bytes) == (300.0, 2 << 30)


@pytest.mark.parametrize(("words", "shown"), OFFLINE, ids=lambda part: " ".join(part)[:40])
def test_a_command_on_the_file_prints_what_is_shown(
    tmp_path: Path, words: list[str], shown: list[str]
) -> None:
    file = written(tmp_path, FILE)
    lines = balancer([file if word == "balancer.yaml" else word for word in words])
    assert not shown or matches(lines, shown), "\n".join(lines)


def test_the_maintenance_page_closes_one_host_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("later", encoding="utf-8")
    text = CLOSED.replace("/etc/balancer/maintenance.html", str(tmp_path / "page.html"))
    file = written(tmp_path, FILE.replace("routes:\n", text))
    lines = balancer(["route", "GET", "https://shop.example/api/x", "--config", file])
    assert lines[:2] == [
        "route         closed, number 1: host shop.example",
        "answer        503 Service Unavailable, made here, with a body of 5 bytes",
    ]
    assert "              Retry-After: 600" in lines
    lines = balancer(["route", "GET", "https://help.shop.example/", "--config", file])
    assert lines[0].startswith("route         help")


async def ask(port: int, host: str, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


REQUESTS = {
    "help": ("help.shop.example", "/api/x"),
    "upload": ("shop.example", "/api/upload/7"),
    "api": ("shop.example", "/api/x"),
    "static": ("shop.example", "/static/a.css"),
    "default": ("shop.example", "/"),
}


@pytest.mark.integration
async def test_status_shows_the_routes_of_the_page(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        names = sorted(set(_NAMED.findall(FILE)))
        apps = {name: await stack.enter_async_context(app_replica(name)) for name in names}
        file = written(tmp_path, _NAMED.sub(lambda found: apps[found[1]].address, FILE))
        instance = await stack.enter_async_context(running(CONFIG=file))
        for name, (host, path) in REQUESTS.items():
            app = {"upload": "api", "default": "web"}.get(name, name)
            assert (await ask(instance.port, host, path)).endswith(f"\r\n\r\n{app}".encode())
        place = {"BALANCER_ADMIN_LISTEN": f"127.0.0.1:{instance.admin_port}"}
        status = await asyncio.to_thread(lambda: balancer(STATUS, **place))
        said = await asyncio.to_thread(lambda: balancer(READ_ONLY, **place))
    assert said == SAID
    assert status[0] == SHOWN[0]
    own, shown = (
        [line.split() for line in lines[[line.split()[:1] for line in lines].index(["route"]) :] if line]
        for lines in (status, SHOWN)
    )
    assert own[0] == shown[0]
    assert [row[:2] for row in own[2:]] == [row[:2] for row in shown[2:]]
    assert {row[2] for row in own[2:]} == {"1"}
