"""Explanations of a real balancer, and the command that shows them."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from balancer.runtime.explanations import MOST
from tests.fakes.app_replica import app_replica
from tests.fakes.instance import PATIENCE, Balancer, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def ask(balancer: Balancer, request_id: str, target: str = "/", **headers: str) -> int:
    """The status of the answer to a request with this id."""
    fields = {"X-Request-ID": request_id} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.port}{target}"
        async with session.get(url, headers=fields, allow_redirects=False) as answer:
            await answer.read()
            return answer.status


async def api(balancer: Balancer, path: str, order: Any = None) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.admin_port}{path}"
        method = "GET" if order is None else "POST"
        async with session.request(method, url, json=order) as answer:
            return answer.status, await answer.json()


async def explained(balancer: Balancer, request_id: str) -> Mapping[str, Any]:
    """The explanation, once the supervisor has it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            status, answer = await api(balancer, f"/api/explain/{request_id}")
            if status == 200:
                (one,) = answer["explanations"]
                return dict(one)


async def never(balancer: Balancer, request_id: str) -> None:
    """It is not explained, though one that failed after it is."""
    assert await ask(balancer, "a-marker", Host="marker.example") == 404
    await explained(balancer, "a-marker")
    assert (await api(balancer, f"/api/explain/{request_id}"))[0] == 404


async def command(balancer: Balancer, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "balancer", "explain", "--admin", f"127.0.0.1:{balancer.admin_port}",
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def site(address: str, **more: str) -> dict[str, str]:
    """A balancer that serves one host only, by the upstream at `address`."""
    routes = [{"name": "web", "match": {"host": "127.0.0.1"}, "pool": "default"}]
    return {"UPSTREAMS": address, "ROUTES": json.dumps(routes), "HEALTH_CHECK__ENABLED": "false", **more}


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """An address that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_a_retried_request_has_both_attempts() -> None:
    async with app_replica("ill") as ill, app_replica("well") as well:
        ill.status = 503
        upstreams = f"{ill.address},{well.address}"
        async with running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false") as balancer:
            for number in range(2):
                assert await ask(balancer, f"r{number}") == 200
            found: list[Any] = []
            async with asyncio.timeout(PATIENCE):
                while not found:
                    found = (await api(balancer, "/api/explain"))[1]["requests"]
            assert found[0]["why"] == "retry"
            one = await explained(balancer, found[0]["request_id"])
    assert [(each["upstream"], each["result"]) for each in one["attempts"]] == [
        (ill.address, "503"),
        (well.address, "200"),
    ]
    assert one["choices"][-1]["upstream"] == well.address
    states = {each["upstream"]: each["state"] for each in one["choices"][-1]["candidates"]}
    assert states == {ill.address: "tried", well.address: "free"}


async def test_a_refused_request_says_which_limit() -> None:
    async with app_replica() as app:
        app.takes = 0.5
        settings = {"LIMITS__MAX_INFLIGHT": "1", "LIMITS__QUEUE_SIZE": "1", "HEALTH_CHECK__ENABLED": "false"}
        async with running(UPSTREAMS=app.address, **settings) as balancer:
            statuses = await asyncio.gather(*(ask(balancer, f"q{number}") for number in range(4)))
            refused = statuses.index(503)
            one = await explained(balancer, f"q{refused}")
    assert one["cut"]["reason"] == "queue_full"
    assert one["cut"]["limit"] == "LIMITS__QUEUE_SIZE"
    assert one["cut"]["phase"] == "queued"
    (choice,) = one["choices"]
    assert (choice["upstream"], choice["candidates"][0]["state"]) == (None, "full")


async def test_a_pin_that_is_diverted_says_why() -> None:
    async with app_replica("one") as one, app_replica("two") as two:
        settings = {"STICKY__ENABLED": "true", "HEALTH_CHECK__ENABLED": "false", "EXPLAIN__SAMPLE": "1"}
        async with running(UPSTREAMS=f"{one.address},{two.address}", **settings) as balancer:
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{balancer.port}/"
                answer = await session.get(url, headers={"X-Request-ID": "pins"})
                pin = answer.headers["Set-Cookie"].partition(";")[0]
            first = await explained(balancer, "pins")
            assert first["pin"]["result"] == "new"
            async with aiohttp.ClientSession() as session:
                admin = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams/"
                await session.patch(admin + first["upstream"], json={"admin_state": "maintenance"})
            while True:
                await ask(balancer, "diverted", Cookie=pin)
                _, answer = await api(balancer, "/api/explain/diverted")
                found = [
                    each for each in answer.get("explanations", ()) if each["pin"]["result"] == "repinned"
                ]
                if found:
                    break
    (pinned, other) = first["upstream"], found[0]["upstream"]
    assert {pinned, other} == {one.address, two.address}
    assert found[0]["pin"]["upstream"] == pinned
    assert found[0]["pin"]["text"].endswith("which could not take it: in maintenance")
    assert pin.partition("=")[2] not in json.dumps(found)


async def test_the_side_of_a_split_has_its_weights() -> None:
    async with app_replica("old") as old, app_replica("new") as new:
        split = [{"pool": "old", "weight": 100}, {"pool": "new", "weight": 0}]
        settings = {
            "POOLS__OLD__UPSTREAMS": old.address,
            "POOLS__NEW__UPSTREAMS": new.address,
            "ROUTES": json.dumps([{"name": "web", "split": split}]),
            "EXPLAIN__SAMPLE": "1",
            "SPLIT__KEY": "client_ip",
        }
        async with running(**settings) as balancer:
            assert await ask(balancer, "s1") == 200
            one = await explained(balancer, "s1")
    assert one["split"] == {"pool": "old", "key": "client_ip", "weights": {"old": 100, "new": 0}, "note": ""}
    assert (
        one["story"][0]["text"] == "took route web: every request; side old of old 100, new 0, by client_ip"
    )


async def test_a_header_field_counts_from_trusted_proxies_only() -> None:
    async with app_replica() as app:
        async with running(**site(app.address)) as balancer:
            assert await ask(balancer, "h1", X_Balancer_Explain="1") == 200
            await never(balancer, "h1")
        async with running(**site(app.address, TRUSTED_PROXIES="127.0.0.1")) as balancer:
            assert (
                await ask(balancer, "h2", "/x?key=secret", X_Balancer_Explain="1", Cookie="a=secret") == 200
            )
            one = await explained(balancer, "h2")
            assert await ask(balancer, "h3") == 200
            await never(balancer, "h3")
    assert (one["why"], one["target"], one["notes"]) == ("header", "/x?key=***", [])
    assert ["Cookie", "a=***"] in one["fields"]
    assert "secret" not in json.dumps(one)
    assert all("explain" not in name.lower() for name, _ in one["fields"])


async def test_a_filter_is_for_a_while_and_in_bounded_memory() -> None:
    async with app_replica() as app, running(**site(app.address, WORKERS="2")) as balancer:
        status, answer = await api(balancer, "/api/explain", {"path": "/api", "seconds": 60})
        assert (status, answer["now"]["watch"]) == (200, "path=/api")
        assert await ask(balancer, "other", "/x") == 200
        async with asyncio.timeout(PATIENCE):
            while not (await api(balancer, "/api/explain"))[1]["requests"]:
                await asyncio.gather(*(ask(balancer, f"api{number}", "/api/x") for number in range(8)))
        await never(balancer, "other")
        assert (await api(balancer, "/api/explain", {"seconds": 0}))[1]["now"]["watch"] == ""
        _, events = await api(balancer, "/api/events")
        audits = [each["text"] for each in events["events"] if each["kind"] == "audit"]
        assert "explains path=/api for 60 s: done" in audits[0]
        assert "explains no more: done" in audits[1]
        # Each of these fails: more than 20 in a second of a worker are left out.
        failing = (ask(balancer, f"m{number}", Host="marker.example") for number in range(100))
        assert set(await asyncio.gather(*failing)) == {404}
        _, answer = await api(balancer, "/api/explain")
        assert len(answer["requests"]) <= 2 * MOST


async def test_the_command_tells_the_story_or_what_would_have_kept_it() -> None:
    async with nobody() as address, running(**site(address)) as balancer:
        assert await ask(balancer, "broken", "/cart?id=7") == 502
        await explained(balancer, "broken")
        code, out, err = await command(balancer, "broken")
        assert (code, err) == (0, "")
        assert out.startswith("GET /cart?id=*** of 127.0.0.1, host 127.0.0.1:")
        assert "route     web, number 1: host 127.0.0.1" in out
        assert f"no connection to {address}: connect_refused" in out
        code, out, err = await command(balancer)
        assert "broken" in out
        code, out, err = await command(balancer, "broken", "--json")
        assert json.loads(out)["explanations"][0]["request_id"] == "broken"
        code, out, err = await command(balancer, "unknown")
        assert (code, out) == (1, "")
        assert "no request 'unknown' is explained here" in err
        assert "balancer explain --watch" in err


async def test_the_command_watches_for_a_while() -> None:
    async with app_replica() as app, running(**site(app.address)) as balancer:
        watching = asyncio.create_task(command(balancer, "--watch", "path=/api", "--for", "2s", "--json"))
        async with asyncio.timeout(PATIENCE):
            while not (await api(balancer, "/api/explain"))[1]["now"]["watch"]:
                pass
        assert await ask(balancer, "seen", "/api/x") == 200
        code, out, err = await watching
        assert (code, err) == (0, "")
        assert [json.loads(line)["request_id"] for line in out.splitlines()] == ["seen"]
