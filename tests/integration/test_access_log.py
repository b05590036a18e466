"""What the access log says of requests that had to wait, went again, or were pinned or divided."""

import json
import socket
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration

PLAIN = {"HEALTH_CHECK__ENABLED": "false", "POLICY": "round_robin"}


async def last(balancer: Balancer, count: int) -> dict[str, Any]:
    lines: list[dict[str, Any]] = await balancer.logs_access(count)
    return lines[count - 1]


async def test_attempts_in_vain_with_their_reasons() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: dials are refused
        dead = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with app_replica() as app, running(UPSTREAMS=f"{dead},{app.address}", **PLAIN) as balancer:
            for _ in range(2):
                assert (await get(balancer.port)).status == 200
            lines = await balancer.logs_access(2)
    tried = next(line for line in lines if line["attempts"] == 2)
    (failed,) = tried["failures"]
    assert (failed["upstream"], failed["reason"]) == (dead, "connect_refused")
    assert 0 <= failed["after"] <= tried["connect"] <= tried["first_byte"] <= tried["duration"]
    assert "reason" not in tried, "it was served"


async def test_an_answer_that_was_not_passed_on() -> None:
    async with app_replica("ill") as ill, app_replica("well") as well:
        ill.status = 503
        async with running(UPSTREAMS=f"{ill.address},{well.address}", **PLAIN) as balancer:
            for _ in range(2):
                assert (await get(balancer.port)).status == 200
            lines = await balancer.logs_access(2)
    tried = next(line for line in lines if "failures" in line)
    assert [(one["upstream"], one["reason"]) for one in tried["failures"]] == [(ill.address, "status_503")]


async def test_the_wait_for_a_slot() -> None:
    async with app_replica() as app:
        settings = {"LIMITS__MAX_INFLIGHT": "1", "LIMITS__QUEUE_TIMEOUT": "1m", **PLAIN}
        async with running(UPSTREAMS=app.address, **settings) as balancer:
            first, second = await balancer.connect(), await balancer.connect()
            first.send("/hold")
            await app.holds()
            second.send("/")

            async def waits() -> bool:
                return await balancer.metric('balancer_queue_length{pool="default"}') == 1

            await until(waits)
            app.release.set()
            assert {(await first.answer()).status, (await second.answer()).status} == {200}
            held, waited = await balancer.logs_access(2)
    assert "queue" not in held
    assert 0 < waited["queue"] <= waited["duration"]
    assert waited["target"] == "/"


async def test_sticky_and_side() -> None:
    async with app_replica("old") as old, app_replica("new") as new:
        settings = {
            "POOLS__OLD__UPSTREAMS": old.address,
            "POOLS__OLD__STICKY__ENABLED": "true",
            "POOLS__NEW__UPSTREAMS": new.address,
            "ROUTES": json.dumps([{"name": "web", "split": {"old": 100, "new": 0}}]),
            "HEALTH_CHECK__ENABLED": "false",
        }
        async with running(**settings) as balancer:
            answer = await get(balancer.port)
            line = await last(balancer, 1)
    assert "set-cookie" in answer.head.lower()
    assert (line["sticky"], line["side"], line["pool"]) == ("new", "old", "old")


async def test_who_has_to_act_on_an_error_of_ours() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with running(UPSTREAMS=address, ACCESS_LOG__SAMPLE="0", **PLAIN) as balancer:
            assert (await get(balancer.port)).status == 502
            line = await last(balancer, 1)
    assert (line["reason"], line["source"], line["status"]) == ("connect_refused", "upstream", 502)
    assert [one["reason"] for one in line["failures"]] == ["connect_refused"]


async def test_a_sample_of_none_is_a_log_of_trouble() -> None:
    settings = {"ACCESS_LOG__SAMPLE": "0", **PLAIN}
    async with app_replica() as app, running(UPSTREAMS=app.address, **settings) as balancer:
        assert (await get(balancer.port, "/served")).status == 200
        app.status = 404
        assert (await get(balancer.port, "/unknown")).status == 404
        leaving = await balancer.connect()
        leaving.send("/hold")
        await app.holds()
        await leaving.close()
        (left,) = await balancer.logs_access(1)
        app.status = 500
        assert (await get(balancer.port, "/ill")).status == 500
        lines = await balancer.logs_access(2)
    assert (left["target"], left["status"]) == ("/hold", 499)
    assert "first_byte" not in left
    assert [line["target"] for line in lines] == ["/hold", "/ill"]


@pytest.mark.parametrize(("format", "begins"), [("logfmt", "time="), ("combined", "127.0.0.1 - - [")])
async def test_other_formats(format: str, begins: str) -> None:
    async with app_replica() as app:
        settings = {"ACCESS_LOG__FORMAT": format, **PLAIN}
        async with running(UPSTREAMS=app.address, **settings) as balancer:
            await get(balancer.port)

            async def is_there() -> bool:
                return len(balancer.stdout) == 1

            await until(is_there)
            assert balancer.stdout[0].startswith(begins)
            assert " 200 " in balancer.stdout[0] or "status=200" in balancer.stdout[0]
