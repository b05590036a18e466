"""The commands of docs/explain.md work, and the settings that explanations name exist."""

import asyncio
import re
import shlex
import sys
from pathlib import Path

import pytest

from balancer.proxy import retrying
from balancer.proxy.cuts import LIMITS
from balancer.proxy.explaining import PER_SECOND
from balancer.runtime.explanations import MOST, MOST_BYTES
from tests.fakes.app_replica import app_replica
from tests.fakes.instance import PATIENCE, Balancer, running

DOCS = Path(__file__).parents[2] / "docs"
_PAGE = (DOCS / "explain.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(r"^```sh\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
_KNOWN = set(re.findall(r"`BALANCER_([A-Z_]+)`", (DOCS / "settings.md").read_text(encoding="utf-8")))


async def run(balancer: Balancer, command: str) -> tuple[int, str]:
    program, *arguments = shlex.split(command)
    assert program == "balancer"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "balancer", *arguments, "--admin", f"127.0.0.1:{balancer.admin_port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, (out or err).decode()


@pytest.mark.integration
async def test_its_commands_work() -> None:
    show, watch = _COMMANDS
    async with app_replica() as app, running(UPSTREAMS=app.address) as balancer:
        code, said = await run(balancer, show)
        assert (code, "no request '7f3c9a1be20d4c55' is explained here" in said) == (1, True)
        assert "--for 60s" in watch
        code, said = await run(balancer, watch.replace("60s", "100ms"))
        assert (code, "explains path=/api client=192.0.2.0/24 for 100ms" in said) == (0, True)


def test_limits_are_settings() -> None:
    assert set(LIMITS.values()) <= _KNOWN


def test_reasons_against_another_attempt_name_settings() -> None:
    source = Path(retrying.__file__).with_suffix(".py").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[A-Z]+__[A-Z_]+\b", source))
    assert named
    assert named <= _KNOWN


def test_its_figures_are_those_of_the_code() -> None:
    assert f"at most {PER_SECOND} in a second and worker" in _PAGE.replace("\n", " ")
    assert f"the last {MOST} of each kind, in at most {MOST_BYTES >> 20} MB each" in _PAGE.replace("\n", " ")
