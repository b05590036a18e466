"""Every command of docs/guides/sticky-to-stateless.md prints what is shown, and only a tenth gets a 401."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.app import App
from tests.fakes.instance import get, running, until
from tests.guides.page import Command, Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/sticky-to-stateless.md")
SECTIONS = [
    "What it costs now",
    "A second way to the same replicas",
    "A tenth of the users",
    "Again, and all",
    "Without it",
]
USERS = 100


class SessionApp(App):
    """Gives a session to who has none, and 401 to whose session it does not know; its check passes."""

    numbers = itertools.count()

    def __init__(self, sessions: set[str]) -> None:
        super().__init__()
        self.sessions = sessions

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        session = head.partition("session=")[2].partition(";")[0].partition("\r\n")[0]
        known, cookie = session in self.sessions, ""
        if not session and " /healthz " not in head:
            session = str(next(self.numbers))
            cookie, known = f"Set-Cookie: session={session}\r\n", True
            self.sessions.add(session)
        status = 200 if known or " /healthz " in head else 401
        writer.write(f"HTTP/1.1 {status} So\r\n{cookie}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True


class Users:
    """A hundred, each with its own cookies; they ask in turn. `seen` is of the time since it was emptied."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.seen: Counter[int] = Counter()
        self.rounds = 0

    async def ask(self) -> None:
        jars = [aiohttp.CookieJar(unsafe=True) for _ in range(USERS)]
        sessions = [aiohttp.ClientSession(cookie_jar=jar) for jar in jars]
        try:
            while True:
                for session in sessions:
                    async with session.get(self.url) as response:
                        await response.read()
                    self.seen[response.status] += 1
                self.rounds += 1
        finally:
            await asyncio.gather(*(session.close() for session in sessions))

    async def go_round(self) -> Counter[int]:
        """What they get in some whole rounds that begin now."""
        first = self.rounds + 1

        async def have() -> bool:
            if self.rounds == first:
                self.seen.clear()
            return self.rounds >= first + 3

        await until(have)
        return self.seen


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Users]:
    users = Users(port)
    task = asyncio.create_task(users.ask())
    try:
        yield users
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_commands_print_what_is_shown_and_only_the_tenth_is_logged_out(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [SessionApp(set()) for _ in range(2)]
        for app in apps:
            await stack.enter_async_context(app.listening())
        names = {f"app{number}:8000": app.address for number, app in enumerate(apps, 1)}
        file = tmp_path / "balancer.yaml"

        def write(version: int) -> None:
            file.write_text(Place(tmp_path, names).real(GUIDE.file("balancer.yaml", version)))

        write(0)
        balancer = await stack.enter_async_context(running(CONFIG=str(file)))
        names["127.0.0.1:9901"] = admin = f"127.0.0.1:{balancer.admin_port}"
        place = Place(tmp_path, names, {"BALANCER_ADMIN_LISTEN": admin})
        users = await stack.enter_async_context(asking(balancer.port))

        async def then(*commands: Command) -> Counter[int]:
            await place.runs(commands)
            return await users.go_round()

        assert set(await users.go_round()) == {200}
        costs, second, tenth, again, without = (GUIDE.commands(section) for section in SECTIONS)
        await place.runs(costs)
        write(1)
        assert set(await then(*second)) == {200}
        seen = await then(tenth[0])
        assert 0 < seen[401] < seen[200] / 5
        await place.runs([tenth[1]])
        assert set(await then(tenth[2])) == {200}
        for app in apps:  # the new version: sessions are elsewhere
            app.sessions = apps[0].sessions | apps[1].sessions
        for step in again:
            assert set(await then(step)) == {200}
        pools = (await get(balancer.admin_port, "/api/pools/free/upstreams")).json()["upstreams"]
        assert all(one["requests"] > 0 for one in pools)
        write(2)
        assert set(await then(*without)) == {200}


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    assert GUIDE.commands() == [one for section in SECTIONS for one in GUIDE.commands(section)]
