"""The program is replaced on the same sockets: nothing is refused or lost, and if the new one fails the old
one goes on."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import PATIENCE, Client, get, gone, until

pytestmark = pytest.mark.integration

_LISTENS = re.compile(r"listens on 127\.0\.0\.1:(\d+), admin on 127\.0\.0\.1:(\d+)")


async def change(port: int, method: str, target: str, wish: dict[str, Any] | None = None) -> Any:
    """The JSON of the answer."""
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.request(method, target, json=wish) as answer,
    ):
        return await answer.json()


def text_of(app: AppReplica, more: str = "") -> str:
    """Settings for one upstream."""
    return f"upstreams: {app.address}\n{more}"


def write(file: Path, text: str) -> None:
    """Replace the settings."""
    file.write_text(text)


class Program:
    """A balancer as a person starts it, from its settings file, and those that replace it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._more = asyncio.Event()
        self.port = self.admin = 0

    async def read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log += line.decode()
            self._more.set()

    async def says(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait for a line; returns its last match."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = list(re.finditer(pattern, self.log))
                if len(found) >= times:
                    return found[-1]
                self._more.clear()
                await self._more.wait()

    async def replace(self) -> Any:
        return await change(self.admin, "POST", "/api/replace", {})

    async def state(self, upstream: str) -> dict[str, Any]:
        answer = await get(self.admin, f"/api/pools/default/upstreams/{upstream}")
        return dict(answer.json())


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@asynccontextmanager
async def program(file: Path, text: str, **more: str) -> AsyncIterator[Program]:
    """One that serves, with `more` in its environment; at the end, all processes of its group are ended."""
    write(file, f"listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n{text}\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "balancer", "--config", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**environ, **more},
        start_new_session=True,
    )
    running = Program(process)
    reading = asyncio.create_task(running.read())
    try:
        listens = await running.says(_LISTENS.pattern)
        running.port, running.admin = int(listens[1]), int(listens[2])
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # a replacement stays in the group
        async with asyncio.timeout(PATIENCE):
            await reading  # the pipe ends with the last of them
            await process.wait()


async def test_a_replacement_refuses_nothing_and_keeps_what_operators_have_set(tmp_path: Path) -> None:
    async with app_replica("one") as app, app_replica("two") as two:
        text = f"upstreams: {app.address},{two.address}"
        async with program(tmp_path / "a.yaml", text) as balancer:
            target = f"/api/pools/default/upstreams/{two.address}"
            await change(balancer.admin, "PATCH", target, {"admin_state": "draining"})
            held = await Client.connect(balancer.port)
            held.send("/hold")
            await app.holds()
            idle = await Client.connect(balancer.port)
            idle.send()
            assert (await idle.answer()).status == 200
            answer = await balancer.replace()
            assert answer["pid"] != balancer.process.pid
            await balancer.says(rf"this process replaces {balancer.process.pid}, which drains")
            # A connection of the old program is served until it says that this was the last request.
            idle.send()
            while "connection: close" not in (last := await idle.answer()).head.lower():
                assert last.status == 200
                idle.send()  # its worker does not know yet
            assert last.status == 200
            assert (await get(balancer.port)).body == b"one"
            assert (await balancer.state(two.address))["admin_state"] == "draining"
            assert _is_alive(balancer.process.pid)
            app.release.set()
            assert (await held.answer()).status == 200
            await gone(balancer.process.pid)
            await held.close()
            await idle.close()


async def test_usr2_replaces_too_and_again(tmp_path: Path) -> None:
    async with (
        app_replica("one") as app,
        program(tmp_path / "a.yaml", text_of(app)) as balancer,
    ):
        os.kill(balancer.process.pid, signal.SIGUSR2)
        new = int((await balancer.says(r"process (\d+) serves instead"))[1])
        await balancer.says("drained, exiting")
        os.kill(new, signal.SIGUSR2)
        await balancer.says(r"process (\d+) serves instead", times=2)
        await balancer.says("drained, exiting", times=2)
        assert (await get(balancer.port)).body == b"one"


FAILURES = {
    "wrong settings": ("polciy: x", "no such setting; did you mean policy?"),
    "an address in use": ("listen: 127.0.0.1:{port}", "the port is in use"),
    "a policy that does not load": ("policy: nowhere:Policy", "nowhere"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_if_the_new_program_fails_the_old_one_goes_on(tmp_path: Path, case: str) -> None:
    more, said = FAILURES[case]
    file = tmp_path / "a.yaml"
    async with (
        app_replica("one") as app,
        app_replica("other") as other,
        program(file, text_of(app)) as balancer,
    ):
        before = file.read_text()
        if "{port}" in more:
            more = more.format(port=other.address.rpartition(":")[2])
            file.write_text(before.replace("listen: 127.0.0.1:0\nadmin", f"{more}\nadmin"))
        else:
            file.write_text(f"{before}{more}\n")
        answer = await balancer.replace()
        assert said in answer["error"]
        assert (await get(balancer.port)).body == b"one"
        await balancer.says("replacement by .* failed: ")
        file.write_text(before)
        assert (await balancer.replace())["pid"]


async def test_a_listener_that_the_new_settings_do_not_have_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    async with app_replica("one") as app, program(file, text_of(app)) as balancer:
        file.write_text(file.read_text().replace("listen: 127.0.0.1:0\nadmin", "listen: 127.0.0.2:0\nadmin"))
        await balancer.replace()
        await balancer.says("drained, exiting")
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(balancer.port)


async def test_term_ends_a_program_that_was_replaced_and_still_drains(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    async with app_replica("one") as app, program(file, text_of(app, "timeouts: {drain: 100ms}")) as balancer:
        held = await Client.connect(balancer.port)
        held.send("/hold")
        await app.holds()
        await balancer.replace()
        await balancer.says("serves instead")
        os.kill(balancer.process.pid, signal.SIGTERM)
        assert (await held.answer()).status == 503
        await gone(balancer.process.pid)
        await held.close()


async def test_changes_survive_a_restart_with_a_state_file(tmp_path: Path) -> None:
    async with app_replica("one") as app, app_replica("two") as two:
        text = f"upstreams: {app.address},{two.address}\nstate: {{file: {tmp_path}/state.json}}"
        target = f"/api/pools/default/upstreams/{two.address}"
        async with program(tmp_path / "a.yaml", text) as balancer:
            wish = {"admin_state": "draining", "weight": 7}
            answer = await change(balancer.admin, "PATCH", target, wish)
            assert answer["until_restart"] is False
        async with program(tmp_path / "a.yaml", text) as balancer:
            state = await balancer.state(two.address)
            assert (state["admin_state"], state["weight"]) == ("draining", 7)
            (live,) = (await get(balancer.admin, "/api/config")).json()["live_changes"]
            assert live["by"] == "127.0.0.1"
            assert await change(balancer.admin, "DELETE", "/api/live_changes") == {"forgotten": 1}
        async with program(tmp_path / "a.yaml", text) as balancer:
            assert (await balancer.state(two.address))["admin_state"] == "active"


async def test_without_a_state_file_the_answer_says_that_a_restart_forgets(tmp_path: Path) -> None:
    async with (
        app_replica("one") as app,
        program(tmp_path / "a.yaml", text_of(app)) as balancer,
    ):
        target = f"/api/pools/default/upstreams/{app.address}"
        assert (await get(balancer.admin, target)).json()["until_restart"] is False
        assert (await change(balancer.admin, "PATCH", target, {"weight": 7}))["until_restart"] is True


async def test_the_service_manager_gets_to_know_the_new_main_process(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        async with (
            app_replica("one") as app,
            program(tmp_path / "a.yaml", text_of(app), NOTIFY_SOCKET=str(tmp_path / "notify")) as balancer,
        ):
            pid = (await balancer.replace())["pid"]
            told = [(await asyncio.to_thread(manager.recv, 1000)).decode() for _ in range(3)]
            assert told == ["READY=1", "READY=1", f"MAINPID={pid}"]


async def test_a_failure_that_fills_pages_leaves_the_old_program_serving(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    async with app_replica("one") as app, program(file, text_of(app)) as balancer:
        before = file.read_text()
        wrong = "\n".join(f"  - app{number}.{'x' * 60}.example:notaport" for number in range(1500))
        write(file, before.replace(f"upstreams: {app.address}", f"upstreams:\n{wrong}"))
        os.kill(balancer.process.pid, signal.SIGUSR2)
        await balancer.says("replacement by SIGUSR2 failed: ")
        assert (await get(balancer.port)).body == b"one"
        write(file, before)
        assert (await balancer.replace())["pid"]


async def test_term_while_the_program_is_replaced_ends_both(tmp_path: Path) -> None:
    """The first check of the new program hangs, so it is not ready yet."""
    file = tmp_path / "a.yaml"
    async with app_replica("one") as app:
        text = text_of(app, "health_check: {path: /hold, interval: 1m, timeout: 50s}\nreload: {ready: 60s}\n")
        async with program(file, text) as balancer:
            await app.holds()
            os.kill(balancer.process.pid, signal.SIGUSR2)
            await app.holds()  # the new program checks too
            assert (await change(balancer.admin, "DELETE", "/api/live_changes")) == {
                "error": "the program is being replaced; ask again in a moment"
            }
            os.kill(balancer.process.pid, signal.SIGTERM)
            await balancer.says("replacement by SIGUSR2 failed: this instance is about to end")
            await gone(balancer.process.pid)
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(balancer.port)
            app.release.set()


async def test_a_program_that_was_replaced_writes_no_state_any_more(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    text = f"state: {{file: {state}}}\n"
    file = tmp_path / "a.yaml"
    async with app_replica("one") as app, program(file, text_of(app, text)) as balancer:
        target = f"/api/pools/default/upstreams/{app.address}"
        await change(balancer.admin, "PATCH", target, {"weight": 2})
        held = await Client.connect(balancer.port)
        held.send("/hold")
        await app.holds()
        await balancer.replace()
        await balancer.says("serves instead")
        assert (await change(balancer.admin, "PATCH", target, {"weight": 9}))["weight"] == 9
        app.release.set()
        assert (await held.answer()).status == 200
        await held.close()
        await balancer.says("drained, exiting")

        async def is_kept() -> bool:
            return '"weight":9' in await asyncio.to_thread(state.read_text)

        await until(is_kept)
