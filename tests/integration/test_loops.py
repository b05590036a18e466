"""Whole balancers that lead back to themselves, directly or through others, are found at the start or at the
first return. Two in a row are no loop."""

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import Balancer, get, launched, running, until
from tests.fakes.relay import relay

pytestmark = pytest.mark.integration

CHECKS = {"HEALTH_CHECK__INTERVAL": "100ms"}
NO_CHECKS = {"HEALTH_CHECK__ENABLED": "false"}


async def upstream_of(balancer: Balancer) -> dict[str, Any]:
    (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
    upstream: dict[str, Any] = pool["upstreams"][0]
    return upstream


async def kinds(balancer: Balancer) -> list[str]:
    return [one["kind"] for one in (await get(balancer.admin_port, "/api/events")).json()["events"]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_a_request_that_returns_by_a_relay_gets_508_at_its_first_return() -> None:
    async with relay() as way, running(UPSTREAMS=way.address, **NO_CHECKS) as balancer:
        way.lead_to(balancer.port)
        answer = await get(balancer.port, "/x")
        assert answer.status == 508
        assert "proxy_loop_detected" in answer.head
        assert way.connections == 1
        inner, outer = await balancer.logs_access(2)
        assert (inner["status"], inner["reason"]) == (508, "loop_detected")
        assert (outer["status"], outer.get("reason"), outer["upstream"]) == (508, None, way.address)
        await balancer.says("a request looped back to this balancer from 127.0.0.1 (its Via names balancer-")
        await balancer.says(f"{way.address} points back to this balancer")
        assert (await kinds(balancer)).count("loop") == 2
        (failure, *_) = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
        assert (failure["reason"], failure["source"], failure["status"]) == ("loop_detected", "balancer", 508)
        series = 'balancer_local_responses_total{code="508",reason="loop_detected"}'
        await balancer.shows(series, 1)


@pytest.mark.parametrize("listener", ["clients'", "admin"])
async def test_checks_that_return_fail_with_the_reason(listener: str) -> None:
    async with relay() as way, running(UPSTREAMS=way.address, **CHECKS) as balancer:
        way.lead_to(balancer.port if listener == "clients'" else balancer.admin_port)

        async def is_known() -> bool:
            last = (await upstream_of(balancer))["last_check"]
            return last is not None and last["result"] == "loop"

        await until(is_known)
        upstream = await upstream_of(balancer)
        assert upstream["last_check"]["hint"].startswith(
            "508 on /: this upstream points back to this balancer"
        )
        await balancer.says(f"upstream {way.address} of pool default ejected: its first check failed")


async def test_two_balancers_in_a_row_are_no_loop() -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(app_replica())
        second = await stack.enter_async_context(running(UPSTREAMS=app.address, **CHECKS))
        first = await stack.enter_async_context(running(UPSTREAMS=f"127.0.0.1:{second.port}", **CHECKS))
        assert (await get(first.port)).body == b"app"
        await until(lambda: passes(first))
        assert "loop" not in await kinds(first) + await kinds(second)


async def passes(balancer: Balancer) -> bool:
    last = (await upstream_of(balancer))["last_check"]
    return last is not None and bool(last["passed"])


async def test_a_ring_of_two_ends_at_the_first_return() -> None:
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(relay())
        second = await stack.enter_async_context(running(UPSTREAMS=way.address, **NO_CHECKS))
        first = await stack.enter_async_context(running(UPSTREAMS=f"127.0.0.1:{second.port}", **NO_CHECKS))
        way.lead_to(first.port)
        assert (await get(first.port)).status == 508
        assert way.connections == 1
        await first.says(f"127.0.0.1:{second.port} points back to this balancer")
        assert "loop" not in await kinds(second)


# Ways in which the settings can name the balancer's own port.
SEEN = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "dns://localhost"]


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("name", SEEN)
async def test_a_loop_in_the_settings_is_one_line_and_exit_1(name: str, command: str) -> None:
    port = free_port()
    environ = {"BALANCER_UPSTREAMS": f"{name}:{port}", "BALANCER_LISTEN": f"127.0.0.1:{port}"}
    done = await asyncio.to_thread(run, "balancer", command, environ=environ)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"is where this balancer itself listens (LISTEN 127.0.0.1:{port})" in line


async def test_a_name_that_resolves_to_ourselves_is_one_line_and_exit_1() -> None:
    port = free_port()
    name = "0x7f000001"  # getaddrinfo resolves it to 127.0.0.1; nothing before that can know
    async with launched(UPSTREAMS=f"{name}:{port},127.0.0.1:1", LISTEN=f"127.0.0.1:{port}") as balancer:
        assert await balancer.exit_code() == 1
    (line,) = balancer.stderr
    assert (
        f"BALANCER_UPSTREAMS: {name}:{port} is at 127.0.0.1:{port}, which is where this balancer itself"
        in line
    )


async def test_a_dns_entry_that_lists_only_ourselves_is_exit_1() -> None:
    port = free_port()
    async with launched(UPSTREAMS=f"dns://0x7f000001:{port}", LISTEN=f"127.0.0.1:{port}") as balancer:
        assert await balancer.exit_code() == 1
    assert f"dns://0x7f000001:{port} lists only 127.0.0.1:{port}" in balancer.stderr[-1]


async def test_if_a_dns_entry_lists_ourselves_the_others_serve() -> None:
    port = free_port()
    async with app_replica() as app:
        upstreams = f"{app.address},dns://0x7f000001:{port}"
        async with running(UPSTREAMS=upstreams, LISTEN=f"127.0.0.1:{port}") as balancer:
            await balancer.says(
                f"127.0.0.1:{port}, found by dns://0x7f000001:{port}, is not used: it is where"
            )
            assert {(await get(balancer.port)).body for _ in range(4)} == {b"app"}
            assert await kinds(balancer) == ["loop"]


async def test_the_api_refuses_to_add_the_balancer_itself() -> None:
    async with app_replica() as app, running(UPSTREAMS=app.address) as balancer:
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams"
        async with aiohttp.ClientSession() as session:
            for port, setting in ((balancer.port, "LISTEN"), (balancer.admin_port, "ADMIN_LISTEN")):
                for host in ("127.0.0.1", "0.0.0.0"):
                    async with session.post(url, json={"upstream": f"{host}:{port}"}) as response:
                        assert response.status == 409
                        assert f"({setting} 127.0.0.1:{port})" in (await response.json())["error"]


async def heads_sent(via: str) -> list[str]:
    """The Via lines of a request and of a check, as received by the app."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running(UPSTREAMS=address, VIA=via) as balancer:
            assert (await get(balancer.port)).status == 200
            await until(lambda: passes(balancer))
    assert len({b"balancer-check/" in head for head in seen}) == 2
    return [line for head in seen for line in head.decode().split("\r\n") if line.lower().startswith("via:")]


async def test_via_is_the_same_in_requests_and_checks() -> None:
    sent = await heads_sent("on")
    assert len(sent) >= 2
    assert len(set(sent)) == 1
    assert sent[0].startswith("Via: 1.1 balancer-")


async def test_with_via_off_none_is_sent() -> None:
    assert await heads_sent("off") == []


async def test_check_explains_what_via_off_disables() -> None:
    environ = {"BALANCER_UPSTREAMS": "app1:8000", "BALANCER_VIA": "off"}
    done = await asyncio.to_thread(run, "balancer", "check", environ=environ)
    assert done.returncode == 0
    assert "BALANCER_VIA is off: " in done.stdout
    assert (
        "BALANCER_VIA is off: "
        not in (
            await asyncio.to_thread(run, "balancer", "check", environ={**environ, "BALANCER_VIA": "on"})
        ).stdout
    )
