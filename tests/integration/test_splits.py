"""From an old version to a new one, by weights that change in a whole balancer with two workers."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, running, until

pytestmark = pytest.mark.integration

USERS = [f"user-{number}" for number in range(1000)]
CONNECTIONS = 20
STEPS = ((50, 50), (10, 90), (0, 100))


async def served_by(balancer: Balancer, session: aiohttp.ClientSession) -> dict[str, str]:
    """The app that has answered each user; every answer must be a 200."""

    async def ask(users: list[str]) -> dict[str, str]:
        found = {}
        for user in users:
            url = f"http://127.0.0.1:{balancer.port}/"
            async with session.get(url, headers={"X-User": user}) as response:
                assert response.status == 200
                found[user] = (await response.text()).strip()
        return found

    parts = await asyncio.gather(*(ask(USERS[at::CONNECTIONS]) for at in range(CONNECTIONS)))
    return {user: app for part in parts for user, app in part.items()}


async def divide(balancer: Balancer, session: aiohttp.ClientSession, weights: Mapping[str, int]) -> None:
    url = f"http://127.0.0.1:{balancer.admin_port}/api/routes/web/split"
    async with session.patch(url, json=dict(weights)) as response:
        assert response.status == 200
        assert (await response.json())["weights"] == weights


async def test_users_move_once_a_step_and_never_back_and_nothing_fails() -> None:
    async with app_replica("old") as old, app_replica("new") as new:
        settings = {
            "WORKERS": "2",
            "POOLS__OLD__UPSTREAMS": old.address,
            "POOLS__NEW__UPSTREAMS": new.address,
            "SPLIT__KEY": "header:X-User",
            "SPLIT__SECRET": "of the test",
            "ROUTES": '[{"name": "web", "split": {"old": 90, "new": 10}}]',
        }
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with running(**settings) as balancer, aiohttp.ClientSession(connector=connector) as session:
            await balancer.becomes_ready()
            first = before = await served_by(balancer, session)
            assert Counter(before.values())["new"] / len(USERS) == pytest.approx(0.1, abs=0.03)
            for weights in STEPS:
                await divide(balancer, session, {"old": weights[0], "new": weights[1]})
                after: dict[str, str] = {}

                async def has_settled(before: Mapping[str, str] = before) -> bool:
                    """All workers have the new weights: the same answer twice, and another than before."""
                    nonlocal after
                    last, after = after, await served_by(balancer, session)
                    return after == last and after != before

                await until(has_settled)
                share = Counter(after.values())["new"] / len(USERS)
                assert share == pytest.approx(weights[1] / 100, abs=0.03)
                assert {after[user] for user in USERS if before[user] == "new"} == {"new"}
                before = after
            await divide(balancer, session, {"old": 90, "new": 10})  # back by one call

            async def is_back() -> bool:
                return await served_by(balancer, session) == first

            await until(is_back)
            url = f"http://127.0.0.1:{balancer.admin_port}/api/events"
            async with session.get(url) as response:
                events = (await response.json())["events"]
            texts = [event["text"] for event in events if event["kind"] == "split"]
            assert texts[0] == "route web is split old 50, new 50 (before: old 90, new 10): operator request"
            assert len(texts) == 4


async def test_all_workers_stop_serving_changes_and_serve_them_again() -> None:
    async with (
        app_replica("app") as app,
        running(WORKERS="2", UPSTREAMS=app.address) as balancer,
        aiohttp.ClientSession() as session,
    ):
        await balancer.becomes_ready()

        async def statuses() -> set[int]:
            """Of POSTs on connections of their own, so that both workers answer some."""
            found = set()
            for _ in range(12):
                url = f"http://127.0.0.1:{balancer.port}/"
                async with session.post(url, headers={"Connection": "close"}) as response:
                    found.add(response.status)
            return found

        url = f"http://127.0.0.1:{balancer.admin_port}/api/routes/default"
        for seconds, status in ((60, 503), (0, 200)):
            async with session.patch(url, json={"read_only": seconds}) as response:
                assert (await response.json())["read_only"] == pytest.approx(seconds, abs=5)

            async def is_so(wanted: int = status) -> bool:
                return await statuses() == {wanted}

            await until(is_so)
