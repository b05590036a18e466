"""Every command of docs/guides/tenfold-day.md prints what is shown, while two replicas have too much load."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.clients import clients
from tests.fakes.instance import event, running
from tests.guides.page import Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/tenfold-day.md")
SERVICE = 0.02  # seconds, one request at a time: 50/s each
CLIENTS = 60  # that pause between requests: too many for two replicas, and not for five
PAUSE = 0.25


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
        url = f"http://127.0.0.1:{balancer.port}/"
        statuses = await stack.enter_async_context(clients(url, CLIENTS, PAUSE))
        await event(balancer, "overload")
        during = GUIDE.commands("While it happens")
        await place.runs(during[:-2])
        await event(balancer, "overload_over")
        await place.runs(during[-2:])
        await place.runs(GUIDE.commands("Afterwards"))
    assert set(statuses) == {"200"}


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    sections = ["While it happens", "Afterwards"]
    assert GUIDE.commands() == [one for section in sections for one in GUIDE.commands(section)]
