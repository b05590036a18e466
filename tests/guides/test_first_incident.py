"""Every command of docs/guides/first-incident.md prints what is shown, in the demo that it tells to start."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.instance import get, until
from tests.guides.page import Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/first-incident.md")
SECTIONS = [
    "Make one",
    "Which one, and why?",
    "Since when?",
    "Is it the balancer?",
    "One request",
    "What to do",
]


@asynccontextmanager
async def demo() -> AsyncIterator[dict[str, str]]:
    """The addresses that it prints, by the page's names of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "balancer", "demo", "--load", stdout=PIPE
    )
    assert process.stdout is not None
    try:
        said = ""
        async with asyncio.timeout(30):
            while "Ctrl-C" not in said:
                said += (await process.stdout.readline()).decode()
        names = {f"{name}:8000": address for name, address in re.findall(r"(app\d) (127\S+)", said)}
        for name, shown in (("127.0.0.1:8080", "balancer"), ("127.0.0.1:9901", "dashboard")):
            (address,) = re.findall(rf"^{shown} +http://(\S+)/", said, re.MULTILINE)
            names[name] = address
        yield names
    finally:
        process.terminate()
        await process.communicate()


async def ill(names: dict[str, str]) -> Any:
    """What the balancer says of app2."""
    port = int(names["127.0.0.1:9901"].rpartition(":")[2])
    return (await get(port, f"/api/pools/default/upstreams/{names['app2:8000']}")).json()


async def test_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    async with demo() as names:
        place = Place(tmp_path, names, {"BALANCER_ADMIN_LISTEN": names["127.0.0.1:9901"]})

        async def all_have_served() -> bool:
            port = int(names["127.0.0.1:9901"].rpartition(":")[2])
            (pool,) = (await get(port, "/api/pools")).json()["pools"]
            return all(one["requests"] > 0 for one in pool["upstreams"])

        async def is_out() -> bool:
            return "active_check" in (await ill(names))["causes"]

        async def is_back() -> bool:
            return bool((await ill(names))["eligible"]) and not (await ill(names))["on_probation"]

        await until(all_have_served)
        await place.runs(GUIDE.commands("Make one"))
        await until(is_out)
        for section in SECTIONS[1:-1]:
            await place.runs(GUIDE.commands(section))
        *commands, events = GUIDE.commands("What to do")
        await place.runs(commands)
        await until(is_back)
        await place.runs([events])


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    assert GUIDE.commands() == [one for section in SECTIONS for one in GUIDE.commands(section)]
