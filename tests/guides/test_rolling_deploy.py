"""Every command of docs/guides/rolling-deploy.md prints what is shown, and no request fails meanwhile."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.clients import clients
from tests.fakes.instance import running
from tests.fakes.replica_processes import ReplicaProcesses
from tests.guides.page import Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/rolling-deploy.md")
SECTIONS = ["The first one, by hand", "The rest, by a script", "Afterwards"]


async def test_the_commands_print_what_is_shown_and_users_notice_nothing(tmp_path: Path) -> None:
    replicas = ReplicaProcesses(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(replicas.end)
        for name in ("app1", "app2"):
            await replicas.start(name)
        upstreams = ",".join(replicas.addresses.values())
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams, HEALTH_CHECK__PATH="/healthz", HEALTH_CHECK__INTERVAL="500ms")
        )
        names = {
            **{f"{name}:8000": address for name, address in replicas.addresses.items()},
            "127.0.0.1:9901": f"127.0.0.1:{balancer.admin_port}",
            "127.0.0.1:8080": f"127.0.0.1:{balancer.port}",
        }
        place = Place(tmp_path, names, {"BALANCER_ADMIN_LISTEN": names["127.0.0.1:9901"]})
        (tmp_path / "deploy.sh").write_text(place.real(GUIDE.file("deploy.sh")))
        url = f"http://127.0.0.1:{balancer.port}/orders"
        seen = await stack.enter_async_context(clients(url, 4, 0.02, bodies=True, answers="X-Replica"))
        for section in SECTIONS:
            await place.runs(GUIDE.commands(section))
    assert {"app1-old", "app2-old", "app1-new", "app2-new"} <= set(seen)
    assert {what for what in seen if not what.startswith("app")} <= {"200", "201", "405"}


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    assert GUIDE.commands() == [one for section in SECTIONS for one in GUIDE.commands(section)]
