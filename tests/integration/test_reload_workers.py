"""Reloads that need new workers: no request fails, and what is long under way goes on in the old ones."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from tests.fakes.app import App
from tests.fakes.app_replica import app_replica
from tests.fakes.https import Authority
from tests.fakes.instance import Balancer, get, gone, until
from tests.fakes.reloading import other_workers, reloading
from tests.fakes.visitors import Stream, Visitors, close
from tests.fakes.websocket_ends import Play, app, hears

pytestmark = pytest.mark.integration

PIECE = b"x" * 1000
PIECES = 100


class Slow(App):
    """A download: one more piece for each permit."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = asyncio.Semaphore(0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (PIECES * len(PIECE)))
        for _ in range(PIECES):
            await self.permits.acquire()
            writer.write(PIECE)
            await writer.drain()
        return True


async def echo(websocket: ServerConnection) -> Sequence[object]:
    async for message in websocket:
        await websocket.send(message)
    return []


async def download(balancer: Balancer) -> Stream:
    """One whose head has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
    writer.write(b"GET /slow/ HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def websocket(balancer: Balancer) -> ClientConnection:
    return await connect(f"ws://127.0.0.1:{balancer.port}/", ping_interval=None, proxy=None)


async def answers(tunnel: ClientConnection) -> None:
    await tunnel.send("a")
    assert await tunnel.recv() == "a"


def never_less(before: dict[str, float], after: dict[str, float]) -> None:
    less = {name: (count, after.get(name)) for name, count in before.items() if after.get(name, -1) < count}
    assert not less


async def test_no_request_fails_while_workers_are_replaced_and_their_number_changes(tmp_path: Path) -> None:
    """No counter decreases, and replacements are no restarts."""
    async with app_replica() as replica:
        base = {"upstreams": replica.address}
        async with reloading(tmp_path, {**base, "workers": 2}) as balanced:
            balancer = balanced.balancer

            async def connected() -> Stream:
                return await asyncio.open_connection("127.0.0.1", balancer.port)

            visitors = Visitors(connected, every=0.02)
            async with visitors.coming():
                for workers in (2, 3, 1):
                    before = await balanced.counts()
                    await balanced.reload(**base, **other_workers(), workers=workers)
                    after = await balanced.counts()
                    of_gone = {name for name in before if 'worker="' in name and name not in after}
                    never_less({name: before[name] for name in before.keys() - of_gone}, after)
                    await balanced.has_workers(workers)
            assert not visitors.failures()
            assert len(visitors.visits) > 100
            restarts = [name for name in after if name.startswith("balancer_worker_restarts_total")]
            assert [after[name] for name in restarts] == [0.0]
            never_less(after, await balanced.counts())


async def test_tunnels_and_downloads_outlast_reloads_and_end_after_the_drain(tmp_path: Path) -> None:
    slow = Slow()
    async with app(Play(hears, echo)) as server, slow.listening():
        settings: dict[str, Any] = {
            "upstreams": f"127.0.0.1:{server.port}",
            "pools": {"slow": {"upstreams": slow.address}},
            "routes": "/slow/=slow, /=default",
            "reload": {"drain": "1h"},
        }
        async with reloading(tmp_path, settings) as balanced:
            lasting = [(await websocket(balanced.balancer), await download(balanced.balancer))]
            for number in range(3):
                await balanced.reload(**settings, **other_workers())
                if number == 1:
                    lasting.append((await websocket(balanced.balancer), await download(balanced.balancer)))
                for tunnel, _ in lasting:
                    slow.permits.release()
                    await answers(tunnel)
                for _, (reader, _) in lasting:
                    await reader.readexactly(1)
            last, stream = await websocket(balanced.balancer), await download(balanced.balancer)
            soon = {"reload": {"drain": "1s"}, "timeouts": {"drain": "1s", "tunnel_drain": "500ms"}}
            await balanced.reload(**{**settings, **soon})
            assert await hears(last) == [1012, ""]
            with pytest.raises(ConnectionResetError):
                await stream[0].read()
            for tunnel, (_, writer) in lasting:  # they were promised an hour
                await answers(tunnel)
                assert not writer.is_closing()
                await tunnel.close()
            for _, stream in lasting:
                await close(stream)
            await balanced.has_workers(1)


async def test_listeners_move_come_and_go(tmp_path: Path) -> None:
    """The old address refuses, once its workers are replaced; clients of before are served to their end."""
    authority = Authority(tmp_path)
    certificate, key = authority.site("localhost")
    tls = {"listen": "127.0.0.1:0", "certificates": f"{certificate}:{key}"}
    async with app_replica("one") as replica:
        base: dict[str, Any] = {"upstreams": replica.address}
        async with reloading(tmp_path, {**base, "listen": "127.0.0.1:0"}, LISTEN="") as balanced:
            client = await balanced.balancer.connect()
            client.send()
            assert (await client.answer()).body == b"one"
            port = balanced.balancer.port
            # It includes the present one, and the port is ours.
            assert (await balanced.reload(**base, listen=f"0.0.0.0:{port}"))["how"] == "new_workers"
            assert (await get(port, host="127.0.0.2")).body == b"one"
            await balanced.reload(**base, listen=f"127.0.0.2:{port}", tls=tls)
            assert (await get(port, host="127.0.0.2")).body == b"one"
            await refuses(port)
            client.send()
            assert "Connection: close" in (await client.answer()).head
            line = await balanced.balancer.says(" TLS on ")
            secure = int(line.rpartition(" TLS on 127.0.0.1:")[2].split()[0])
            assert await asks_by_tls(secure, authority) == "one"
            await balanced.reload(**base, listen=f"127.0.0.2:{port}")
            await refuses(secure)
            with socket.create_server(("127.0.0.3", 0)) as other:  # an address in use leaves all as it was
                balanced.write(**base, listen=f"127.0.0.3:{other.getsockname()[1]}")
                answer = await balanced.ask()
            assert (answer.status, answer.json()["result"]) == (409, "taken_back")
            assert "the port is in use" in answer.json()["error"]
            assert (await get(port, host="127.0.0.2")).body == b"one"


async def refuses(port: int) -> None:
    """Wait until nobody listens there: workers learn of a reload's end just after it."""

    async def does() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    await until(does)


async def asks_by_tls(port: int, authority: Authority) -> str:
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{port}/"
        async with session.get(url, ssl=authority.context()) as response:
            return await response.text()


async def test_a_worker_that_is_killed_during_a_reload_is_replaced_too(tmp_path: Path) -> None:
    async with app_replica("one") as replica:
        base: dict[str, Any] = {"upstreams": replica.address, "workers": 1}
        async with reloading(tmp_path, base) as balanced:
            balancer = balanced.balancer
            old = balancer.workers()
            balanced.write(**base, **other_workers())
            asked = asyncio.create_task(balanced.ask())

            async def has_begun() -> bool:
                return bool(set(balancer.workers()) - {*old})

            await until(has_begun)
            os.kill(old[0], signal.SIGKILL)
            assert (await asked).json()["result"] == "applied"
            await balanced.has_workers(1)
            assert not {*balancer.workers()} & {*old}
            await balancer.becomes_ready()
            assert (await get(balancer.port)).body == b"one"


async def test_term_during_a_reload_ends_the_instance_as_usual(tmp_path: Path) -> None:
    async with app_replica("one") as replica:
        base: dict[str, Any] = {"upstreams": replica.address, "workers": 1}
        async with reloading(tmp_path, base) as balanced:
            balancer = balanced.balancer
            (client := await balancer.connect()).send()
            assert (await client.answer()).body == b"one"
            await balanced.reload(**base, **other_workers())
            old = balancer.workers()
            balanced.write(**base, **other_workers())
            balancer.signal(signal.SIGHUP)

            async def has_begun() -> bool:
                return bool(set(balancer.workers()) - {*old})

            await until(has_begun)
            new = balancer.workers()
            balancer.signal(signal.SIGTERM)
            assert await balancer.exit_code() == 0
            for pid in {*old, *new}:
                await gone(pid)
            assert not [line for line in balancer.stderr if "Traceback" in line or "outlast" in line]
