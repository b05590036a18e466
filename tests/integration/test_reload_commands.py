"""`balancer diff` and `balancer reload` against a running instance."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import Balancer, event, get, running

pytestmark = pytest.mark.integration


async def command(balancer: Balancer, *arguments: str) -> tuple[int, list[list[str]]]:
    """The exit code, and the words of each line of a command."""
    place = ("--admin", f"127.0.0.1:{balancer.admin_port}")
    done = await asyncio.to_thread(run, "balancer", *arguments, *place, environ={"COLUMNS": "120"})
    return done.returncode, [line.split() for line in (done.stdout + done.stderr).splitlines()]


async def etag(balancer: Balancer) -> str:
    """The revision of what operators have set."""
    head = (await get(balancer.admin_port, "/api/pools")).head
    return next(line for line in head.split("\r\n") if line.startswith("ETag: "))


async def test_what_a_reload_would_change_is_what_it_changes(tmp_path: Path) -> None:
    file, new = tmp_path / "settings.yaml", tmp_path / "new.yaml"
    async with app_replica("a") as app:
        file.write_text(f"upstreams: {app.address}\n")
        new.write_text(f"upstreams: {app.address}?weight=2\nhealth_check: {{interval: 500ms}}\n")
        async with running(CONFIG=str(file)) as balancer:
            before = await etag(balancer)
            code, would = await command(balancer, "diff", str(new))
            assert code == 0
            assert " ".join(would[0]).startswith("1 setting and 1 upstream would change, ")
            file.write_text(new.read_text())
            assert await command(balancer, "reload", "--dry-run") == (0, would)
            code, done = await command(balancer, "reload")
            assert code == 0
            assert " ".join(done[0]).startswith("1 setting and 1 upstream changed in ")
            assert done[1:] == would[1:]
            audit = await event(balancer, "audit")
            assert audit["text"].endswith("reloads the settings: applied")
            assert await etag(balancer) != before


async def test_settings_with_mistakes_change_nothing_and_all_mistakes_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    async with app_replica("a") as app:
        file.write_text(f"upstreams: {app.address}\n")
        async with running(CONFIG=str(file)) as balancer:
            before = await etag(balancer)
            file.write_text("upstreams: x\npolicy: nope\n")
            code, said = await command(balancer, "reload")
            text = " ".join(word for line in said for word in line)
            assert code == 1
            assert 'upstreams: "x" has no port' in text
            assert 'policy: "nope" is not a policy' in text
            assert (await get(balancer.port)).status == 200
            assert await etag(balancer) == before
