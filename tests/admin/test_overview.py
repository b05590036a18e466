"""What the dashboard reads: the overview, the stream of its changes, the history."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from balancer.admin.app import build_app
from balancer.overview.stream import MOST_LISTENERS
from tests.admin.harness import AdminClient, FakeInstance

PATIENCE = 20.0


async def frame(response: Any) -> tuple[str, Any]:
    async with asyncio.timeout(PATIENCE):
        kind = (await response.content.readline()).decode().strip()
        data = (await response.content.readline()).decode().strip()
        assert await response.content.readline() == b"\n"
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_the_overview_says_what_the_caller_may_change(
    client: AdminClient, instance: FakeInstance
) -> None:
    answer = await (await client.get("/api/overview")).json()
    assert answer["instance"]["changes"] == {"allowed": "loopback", "hint": ""}
    assert {**answer, "instance": 0} == {**instance.overviews.tree, "instance": 0}


async def test_who_may_not_change_things_reads_what_to_set(client: AdminClient) -> None:
    response = await client.get("/api/overview", headers={"X-Forwarded-For": "192.0.2.1"})
    changes = (await response.json())["instance"]["changes"]
    assert changes["allowed"] == "no"
    assert changes["hint"] == (
        "Set BALANCER_ADMIN_TOKEN to allow changes from here: the request came through a proxy."
    )


async def test_with_a_token_changes_need_it() -> None:
    async with TestClient(TestServer(build_app(FakeInstance(), "secret"))) as client:
        answer = await (await client.get("/api/overview")).json()
    assert answer["instance"]["changes"]["allowed"] == "token"


async def test_the_stream_is_the_whole_and_then_what_changes(
    client: AdminClient, instance: FakeInstance
) -> None:
    async with client.get("/api/stream") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        kind, tree = await frame(response)
        assert (kind, tree["pools"]) == ("overview", instance.overviews.tree["pools"])
        instance.overviews.publish({**instance.overviews.tree, "now": "later"})
        assert await frame(response) == ("patch", {"now": "later"})


async def test_too_many_streams_are_refused_and_closed_ones_make_room(
    client: AdminClient, instance: FakeInstance
) -> None:
    streams = [await client.get("/api/stream") for _ in range(MOST_LISTENERS)]
    refused = await client.get("/api/stream")
    assert (refused.status, (await refused.json())["error"]) == (
        503,
        f"{MOST_LISTENERS} streams are open, which is the limit; ask again later",
    )
    for stream in streams:
        stream.close()
    async with asyncio.timeout(PATIENCE):
        while instance.overviews.stream:
            instance.overviews.publish({**instance.overviews.tree})  # writing shows that a reader is gone
            await asyncio.sleep(0)


async def test_streams_end_when_the_server_stops(client: AdminClient, instance: FakeInstance) -> None:
    async with client.get("/api/stream") as response:
        await frame(response)
        instance.overviews.close()
        async with asyncio.timeout(PATIENCE):
            assert await response.content.read() == b""


@pytest.mark.parametrize(("query", "asked"), [("", None), ("?only=pool:web", "pool:web")])
async def test_history_is_of_all_or_of_one(
    client: AdminClient, instance: FakeInstance, query: str, asked: str | None
) -> None:
    answer = await (await client.get(f"/api/history{query}")).json()
    assert (answer["now"], instance.overviews.asked) == (784111777.0, [asked])


async def test_history_of_something_unknown_is_refused(client: AdminClient) -> None:
    response = await client.get("/api/history?only=web")
    assert (response.status, (await response.json())["error"]) == (
        400,
        "only=web is not known; write route:NAME or pool:NAME",
    )


SITE = "Sec-Fetch-Site"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"Origin": "http://127.0.0.1:{port}"}, 200, id="our own page"),
        pytest.param({"Origin": "http://127.0.0.1:{port}", SITE: "same-origin"}, 200, id="a newer browser"),
        pytest.param({"Origin": "https://127.0.0.1:{port}"}, 403, id="another scheme"),
        pytest.param({"Origin": "http://127.0.0.1:1"}, 403, id="another program on this machine"),
        pytest.param({"Origin": "http://evil.example"}, 403, id="a foreign page"),
        pytest.param({"Origin": "null"}, 403, id="a sandboxed page"),
        pytest.param({SITE: "cross-site"}, 403, id="a foreign page that hides its origin"),
        pytest.param({SITE: "same-site"}, 403, id="a page at another port that hides it"),
        pytest.param({"Origin": "http://127.0.0.1:{port}", SITE: "cross-site"}, 403, id="they disagree"),
    ],
)
async def test_only_our_own_pages_may_make_changes_without_a_token(
    client: AdminClient, fields: dict[str, str], status: int
) -> None:
    response = await client.patch(
        "/api/pools/default/upstreams/app1:8000",
        json={"admin_state": "draining"},
        headers={name: value.format(port=client.port) for name, value in fields.items()},
    )
    assert response.status == status
