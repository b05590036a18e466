"""Every command of docs/old-to-new.md prints what is shown, but those that start the containers.

tests/e2e/test_6_old_to_new.py has these, and looks at each user.
"""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from tests.fakes.clients import clients
from tests.fakes.instance import running
from tests.fakes.replica_processes import ReplicaProcesses
from tests.guides.page import Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("old-to-new.md")
SECTIONS = ["Before", "A tenth", "A half, with a gate", "Nine tenths, and all", "Back"]
TOKEN = "of-the-test-and-of-nobody-else"
POOLS = {"stable": "dns://stable:8000", "canary": "dns://canary:8000"}


async def test_the_commands_print_what_is_shown_and_nothing_fails_but_the_app(tmp_path: Path) -> None:
    settings: dict[str, str] = yaml.safe_load(GUIDE.part("yaml"))
    settings["BALANCER_SPLIT__SECRET"] = TOKEN
    replicas = ReplicaProcesses(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(replicas.end)
        for pool, named in POOLS.items():
            assert settings[f"BALANCER_POOLS__{pool.upper()}__UPSTREAMS"] == named
            for number in (1, 2):
                await replicas.start(f"{pool}{number}")
            found = [replicas.addresses[f"{pool}{number}"] for number in (1, 2)]
            settings[f"BALANCER_POOLS__{pool.upper()}__UPSTREAMS"] = ",".join(found)
        own = {name.removeprefix("BALANCER_"): value for name, value in settings.items()}
        balancer = await stack.enter_async_context(
            running(**own, HEALTH_CHECK__PATH="/healthz", ADMIN_TOKEN=TOKEN)
        )
        names = {
            "127.0.0.1:8080": f"127.0.0.1:{balancer.port}",
            "localhost:9901": f"localhost:{balancer.admin_port}",
        }
        environ = {
            "BALANCER_ADMIN_LISTEN": f"127.0.0.1:{balancer.admin_port}",
            "BALANCER_ADMIN_TOKEN": TOKEN,
            "TOKEN": TOKEN,
        }
        place = Place(tmp_path, names, environ)
        url = f"http://127.0.0.1:{balancer.port}/items/7"
        seen = await stack.enter_async_context(clients(url, 60, 0.1))
        for section in SECTIONS:
            await place.runs(GUIDE.commands(section))
    assert set(seen) == {"200", "500"}
    assert seen["500"] < seen["200"] / 20


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    assert GUIDE.commands() == [one for section in SECTIONS for one in GUIDE.commands(section)]
