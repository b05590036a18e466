"""Every command of docs/guides/tenfold-day.md prints what is shown, while two replicas have too much load."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import event, running
from tests.guides.page import Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/tenfold-day.md")
SERVICE = 0.02  # seconds, one request at a time: 50/s each
CLIENTS = 60  # that pause between requests: too many for two replicas, and not for five
PAUSE = 0.25


@asynccontextmanager
async def clients(port: int) -> AsyncIterator[Counter[int]]:
    """Statuses of what they get."""
    statuses: Counter[int] = Counter()

    async def client() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    await response.read()
                statuses[response.status] += 1
                await asyncio.sleep(PAUSE)

    tasks = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    try:
        yield statuses
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_commands_print_what_is_shown_and_nothing_is_refused(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(1, 6)]
        for app in apps:
            app.takes = SERVICE
        names = {f"{app.name}:8000": app.address for app in apps}
        file = tmp_path / "balancer.yaml"
        file.write_text(Place(tmp_path, names).real(GUIDE.file("balancer.yaml")))
        balancer = await stack.enter_async_context(running(CONFIG=str(file)))
        names["127.0.0.1:9901"] = admin = f"127.0.0.1:{balancer.admin_port}"
        place = Place(tmp_path, names, {"BALANCER_ADMIN_LISTEN": admin})
        statuses = await stack.enter_async_context(clients(balancer.port))
        await event(balancer, "overload")
        during = GUIDE.commands("While it happens")
        await place.runs(during[:-2])
        await event(balancer, "overload_over")
        await place.runs(during[-2:])
        await place.runs(GUIDE.commands("Afterwards"))
    assert set(statuses) == {200}


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    sections = ["While it happens", "Afterwards"]
    assert GUIDE.commands() == [one for section in sections for one in GUIDE.commands(section)]
