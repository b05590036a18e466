"""Requests that break any app, from one address and from ten: no replica is ejected, and no session moves.

But a replica that is really ill is ejected, even with requests from one address.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import pytest

from tests.fakes.fragile_replica import FragileReplica, fragile_replica
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration

STICKY = {"STICKY__ENABLED": "true", "STICKY__SECRET": "of all"}
CHECKS = {"HEALTH_CHECK__INTERVAL": "1s", "HEALTH_CHECK__TIMEOUT": "5s"}
NO_CHECKS = {"HEALTH_CHECK__ENABLED": "false"}
RATE = 30  # requests a second of one attacker
GOOD_RATE = 10  # good requests a second
SECONDS = 1.5  # duration of an attack; some of its requests take a second longer
_COOKIE = re.compile(r"(?i)set-cookie: ([^;\r]+)")
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
_EMPTY = "Content-Length: 0\r\n"

# The head of a request that is not sent again, and breaks any replica.
WORST = {
    "an upgrade that no app serves": f"GET /ws HTTP/1.1\r\n{_UPGRADE}",
    "POST, closed": f"POST /close HTTP/1.1\r\n{_EMPTY}",
    "POST, reset": f"POST /reset HTTP/1.1\r\n{_EMPTY}",
    "POST, malformed": f"POST /nonsense HTTP/1.1\r\n{_EMPTY}",
    "POST, broken off": f"POST /half HTTP/1.1\r\n{_EMPTY}",
    "POST, 500": f"POST /500 HTTP/1.1\r\n{_EMPTY}",
    "POST, too late": f"POST /hang HTTP/1.1\r\n{_EMPTY}",
    "GET, broken off": "GET /half HTTP/1.1\r\n",
    "GET, closed": "GET /close HTTP/1.1\r\n",
}


@asynccontextmanager
async def before(replicas: int, **settings: str) -> AsyncIterator[tuple[Balancer, list[FragileReplica]]]:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(fragile_replica(f"app{n}")) for n in range(1, replicas + 1)]
        balancer = await stack.enter_async_context(
            running(
                UPSTREAMS=",".join(app.address for app in apps), LIMITS__MAX_CONNECTIONS="1000", **settings
            )
        )
        await balancer.becomes_ready()
        yield balancer, apps


async def exchange(balancer: Balancer, head: str, address: str = "127.0.0.1", cookie: str = "") -> str:
    """One request on its own connection, from `address`; returns all bytes received."""
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port, local_addr=(address, 0))
    try:
        line = f"Cookie: {cookie}\r\n" if cookie else ""
        writer.write(f"{head}Host: test\r\n{line}Connection: close\r\n\r\n".encode())
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                return (await reader.read()).decode()
        return ""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@dataclass
class Session:
    """A client with a session at one replica."""

    balancer: Balancer
    address: str = "127.0.0.1"
    cookie: str = ""
    owners: list[str] = field(default_factory=list)

    async def ask(self, head: str = "GET / HTTP/1.1\r\n") -> int:
        """The status of one exchange; a successful response names the replica of the session."""
        said = await exchange(self.balancer, head, self.address, self.cookie)
        if cookie := _COOKIE.search(said):
            self.cookie = cookie[1]
        status = int(said.split(" ")[1]) if said else 0
        if status == 200:
            self.owners.append(said.rpartition("\n")[2])
        return status


async def paced(rate: float, seconds: float, send: Callable[[int], object]) -> None:
    """Calls `send` at this rate, whatever the outcome."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in count():
        at = begin + number / rate
        if at >= begin + seconds:
            return
        await asyncio.sleep(at - loop.time())
        send(number)


async def events(balancer: Balancer) -> list[str]:
    """The events about upstreams."""
    found = (await get(balancer.admin_port, "/api/events")).json()["events"]
    return [f"{one['kind']} {one['upstream']}: {one['text']}" for one in found]


async def attack(
    balancer: Balancer, heads: list[str], attackers: int, seconds: float, *, pinned: str = ""
) -> None:
    """`heads` in turn from `attackers` addresses, beside good requests of five sessions, which must not be
    affected. `pinned` is a cookie of the attackers."""
    good = [Session(balancer) for _ in range(5)]
    assert [await one.ask() for one in good] == [200] * 5
    statuses: list[int] = []
    async with asyncio.TaskGroup() as group:

        async def ask(session: Session) -> None:
            statuses.append(await session.ask())

        def strike(number: int) -> None:
            address = f"127.0.0.{11 + number % attackers}"
            group.create_task(exchange(balancer, heads[number // attackers % len(heads)], address, pinned))

        group.create_task(paced(GOOD_RATE, seconds, lambda number: group.create_task(ask(good[number % 5]))))
        group.create_task(paced(RATE * attackers, seconds, strike))
    assert set(statuses) == {200}
    assert all(len(set(one.owners)) == 1 for one in good)
    kinds = [line.split(" ")[0] for line in await events(balancer)]
    assert not {"ejected", "probation"} & set(kinds), await events(balancer)


@pytest.mark.parametrize("attackers", [1, pytest.param(10, marks=pytest.mark.slow)])
async def test_poison_of_all_kinds_in_turn_ejects_nothing(attackers: int) -> None:
    async with before(3, TIMEOUTS__FIRST_BYTE="1s", **STICKY, **CHECKS) as (balancer, _):
        await attack(balancer, list(WORST.values()), attackers, SECONDS)


@pytest.mark.parametrize("attackers", [pytest.param(1, marks=pytest.mark.slow), 10])
async def test_poison_pinned_to_one_replica_ejects_nothing(attackers: int) -> None:
    """The attackers have a session there, or the cookie of such a session."""
    async with before(3, TIMEOUTS__FIRST_BYTE="1s", **STICKY, **CHECKS) as (balancer, _):
        session = Session(balancer)
        await session.ask()
        heads = [head for what, head in WORST.items() if attackers == 1 or "500" not in what]
        await attack(balancer, heads, attackers, SECONDS, pinned=session.cookie)


@pytest.mark.slow
@pytest.mark.parametrize("attackers", [1, 10])
@pytest.mark.parametrize("what", WORST)
async def test_one_kind_of_poison_ejects_nothing(what: str, attackers: int) -> None:
    async with before(3, TIMEOUTS__FIRST_BYTE="1s", **STICKY, **CHECKS) as (balancer, _):
        await attack(balancer, [WORST[what]], attackers, 4.0)


@pytest.mark.slow
@pytest.mark.parametrize("attackers", [1, 10])
async def test_lasting_poison_without_checks_ejects_nothing(attackers: int) -> None:
    async with before(3, TIMEOUTS__FIRST_BYTE="1s", **STICKY, **NO_CHECKS) as (balancer, _):
        await attack(balancer, list(WORST.values()), attackers, 20.0)


async def ejected(balancer: Balancer, *apps: FragileReplica) -> None:
    """Wait until these are ejected."""

    async def they_are() -> bool:
        said = await events(balancer)
        return all(any(line.startswith(f"ejected {app.address}") for line in said) for app in apps)

    await until(they_are)


async def avoided(balancer: Balancer, app: FragileReplica) -> None:
    """Wait until the worker knows too: events tell what the supervisor has decided, moments before."""
    session = Session(balancer)

    async def it_is() -> bool:
        before = app.requests
        for _ in range(4):  # with two replicas, half of them would go there first
            await session.ask(GET)
        return app.requests == before

    await until(it_is)


GET, POST = "GET / HTTP/1.1\r\n", f"POST / HTTP/1.1\r\n{_EMPTY}"


@pytest.mark.parametrize("ill", ["close", "reset", "nonsense", "500"])
@pytest.mark.parametrize("sticky", [{}, STICKY], ids=["", "sticky"])
async def test_two_ill_replicas_of_four_are_ejected_though_all_requests_share_an_address(
    ill: str, sticky: dict[str, str]
) -> None:
    async with before(4, **NO_CHECKS, **sticky) as (balancer, apps):
        for app in apps[:2]:
            app.ill = ill
        statuses = [await Session(balancer).ask(GET) for _ in range(40)]
        await ejected(balancer, *apps[:2])
        assert statuses.count(200) >= (30 if ill == "500" else 40)
        assert all(app.requests <= 5 for app in apps[:2])


@pytest.mark.parametrize("ill", ["close", "reset", "half", "nonsense"])
async def test_a_check_at_once_finds_an_ill_replica_if_requests_cannot_be_retried(ill: str) -> None:
    """All POSTs of one client; the next regular check is minutes away."""
    settings = {"HEALTH_CHECK__INTERVAL": "5m", "HEALTH_CHECK__TIMEOUT": "1s"}
    async with before(2, **settings) as (balancer, apps):
        apps[0].ill = ill
        session = Session(balancer)
        for _ in range(6):
            await session.ask(POST)
        await ejected(balancer, apps[0])
        assert apps[0].requests == 3
        await avoided(balancer, apps[0])
        assert [await session.ask(POST) for _ in range(6)] == [200] * 6
        assert "an immediate check failed" in (await events(balancer))[-1]


@pytest.mark.parametrize("checks", [CHECKS, NO_CHECKS], ids=["checks that pass", "no checks"])
async def test_a_second_client_confirms_a_replica_that_fails_all_posts(checks: dict[str, str]) -> None:
    async with before(2, **checks) as (balancer, apps):
        apps[0].ill, apps[0].passes_checks = "close", True
        sessions = [Session(balancer, f"127.0.0.{11 + number}") for number in range(3)]

        async def is_out() -> bool:
            for session in sessions:
                await session.ask(POST)
            return any("ejected" in line for line in await events(balancer))

        await until(is_out)
        assert [await one.ask(POST) for one in sessions] == [200] * 3
