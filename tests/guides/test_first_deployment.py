"""Every command of docs/guides/first-deployment.md prints what is shown."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import running
from tests.guides.page import Guide, Place

pytestmark = pytest.mark.integration

GUIDE = Guide("guides/first-deployment.md")


async def test_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in (1, 2, 3)]
        names = {f"{app.name}:8000": app.address for app in apps}
        file = tmp_path / "balancer.yaml"
        file.write_text(Place(tmp_path, names).real(GUIDE.file("balancer.yaml")))
        await Place(tmp_path, names, {"BALANCER_LISTEN": "0.0.0.0:8080"}).runs(GUIDE.commands("Settings"))

        balancer = await stack.enter_async_context(running(CONFIG=str(file)))
        names |= {
            "127.0.0.1:9901": f"127.0.0.1:{balancer.admin_port}",
            "127.0.0.1:8080": f"127.0.0.1:{balancer.port}",
        }
        environ = {"BALANCER_ADMIN_LISTEN": names["127.0.0.1:9901"]}
        place = Place(tmp_path, names, environ)
        await place.runs(GUIDE.commands("Start"))
        drain, ask, activate, *later = GUIDE.commands("Before users come")
        await place.runs([drain, ask, activate])
        file.write_text(place.real(GUIDE.file("balancer.yaml", 1)))
        await place.runs(later)
        await place.runs(GUIDE.commands("Before you go home"))


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    sections = ["Settings", "Start", "Before users come", "Before you go home"]
    assert GUIDE.commands() == [one for section in sections for one in GUIDE.commands(section)]
