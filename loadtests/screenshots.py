"""The pictures of docs/dashboard.md: the dashboard of a real balancer while a replica fails, and overloaded.

    python -m loadtests.screenshots [--into docs/dashboard] [--only ejected]

Five small replicas listen on addresses of this machine, a balancer splits requests over them, and clients
send some. Then one replica answers with 500 for a while, twice; the second time pictures are taken, in a
browser without a window. The overload is the same with more clients than the replicas can serve. Takes three
minutes, and needs Chromium (Debian: apt-get install --no-install-recommends chromium).
"""

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from loadtests.errors import BenchError
from tests.fakes.browser import browser
from tests.fakes.dashboard import dashboard
from tests.fakes.instance import Balancer, event, running
from tests.fakes.page import Browser, driven

INTO = Path(__file__).parents[1] / "docs/dashboard"
MOST = 150_000  # bytes of a picture
PORT = 8000
STABLE, CANARY = 4, 1  # replicas
SETTINGS = {
    "WORKERS": "2",
    "SLO__LATENCY": "300ms",
    "HEALTH_CHECK__INTERVAL": "1s",
    "HEALTH_CHECK__PATH": "/healthz",
    "OUTLIER__EJECTION_TIME": "5s",
    "RETRY__STATUSES": "[]",
    "ROUTES": json.dumps(
        [
            {"name": "shop", "split": [{"pool": "stable", "weight": 90}, {"pool": "canary", "weight": 10}]},
        ]
    ),
}
LIMITED = {"LIMITS__MAX_INFLIGHT": "2", "LIMITS__QUEUE_TIMEOUT": "1s"}


class Shot(NamedTuple):
    """A picture: the size of the window, its colours, and what is scrolled to."""

    name: str
    width: int
    height: int
    dark: bool
    place: str  # a selector, "" for the top
    charts: bool = False  # whether they are open


ILL = (
    Shot("ejected", 1280, 560, False, ""),
    Shot("split", 1280, 545, False, "#routes", True),
    Shot("pool", 1280, 575, True, "#pools"),
    Shot("phone", 390, 844, True, ""),
)
OVERLOADED = (Shot("overload", 1280, 620, True, ""),)


class Replica:
    """Answers with `status`, after a time around `median` seconds."""

    def __init__(self, address: str, rng: random.Random) -> None:
        self.address = address
        self.status = 200
        self.median = 0.02
        self._rng = rng

    async def answer(self, request: web.Request) -> web.Response:
        if request.path != "/healthz":
            await asyncio.sleep(self._rng.lognormvariate(math.log(self.median), 0.6))
        return web.Response(status=self.status, body=b"x" * 8_000)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Replica"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        host, _, port = self.address.rpartition(":")
        try:
            await web.TCPSite(runner, host, int(port)).start()
            yield self
        except OSError as error:
            raise BenchError(f"{self.address} is not free: {error.strerror}") from error
        finally:
            await runner.cleanup()


@asynccontextmanager
async def load(balancer: Balancer, clients: int, pause: float) -> AsyncIterator[None]:
    """So many clients, each of which thinks for `pause` seconds, more or less, between two requests."""
    rng = random.Random(19)

    async def asks(session: aiohttp.ClientSession, number: int) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                url = f"http://127.0.0.1:{balancer.port}/cart/{number}"
                async with session.get(url) as answer:
                    await answer.read()
            await asyncio.sleep(rng.uniform(0.5, 1.5) * pause)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks = [asyncio.create_task(asks(session, number)) for number in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def stage(**settings: str) -> AsyncIterator[tuple[Balancer, Sequence[Replica]]]:
    """The replicas, and a balancer in front of them."""
    rng = random.Random(7)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(Replica(f"127.0.1.{number}:{PORT}", rng).serving())
            for number in range(1, STABLE + CANARY + 1)
        ]
        pools = {
            "POOLS__STABLE__UPSTREAMS": ",".join(one.address for one in replicas[:STABLE]),
            "POOLS__CANARY__UPSTREAMS": ",".join(one.address for one in replicas[STABLE:]),
        }
        yield await stack.enter_async_context(running(**SETTINGS, **pools, **settings)), replicas


async def take(shots: Sequence[Shot], chromium: Browser, balancer: Balancer, into: Path) -> None:
    """Take these pictures of the dashboard."""
    for shot in shots:
        looks = {"width": shot.width, "height": shot.height, "dark": shot.dark}
        async with dashboard(chromium, balancer, **looks) as page:
            opened = json.dumps(shot.charts)
            await page.evaluate(
                f"for (const one of document.querySelectorAll('details')) one.open = {opened}"
            )
            if shot.place:
                await page.evaluate(f"document.querySelector({json.dumps(shot.place)}).scrollIntoView()")
            if shot.charts:
                await page.until("document.querySelector('.plot .line0').hasAttribute('d')")
            elif shot.place:
                await page.until("document.querySelector('.track title')")
            picture = await page.picture()
        if len(picture) > MOST:
            raise BenchError(f"{shot.name} has {len(picture)} bytes, and may have {MOST}: make it smaller")
        (into / f"{shot.name}.png").write_bytes(picture)
        print(f"{into / shot.name}.png: {len(picture):,} bytes")


async def ill(chromium: Browser, into: Path) -> None:
    """A replica that has failed once, and fails again."""
    async with stage() as (balancer, replicas), load(balancer, 40, 0.9):
        await asyncio.sleep(45)
        replicas[2].status = 500
        failed = await event(balancer, "ejected")
        await asyncio.sleep(10)
        replicas[2].status = 200
        await event(balancer, "readmitted", failed["revision"])
        await asyncio.sleep(30)
        replicas[2].status = 500
        await asyncio.sleep(12)
        await take(ILL, chromium, balancer, into)


async def overloaded(chromium: Browser, into: Path) -> None:
    """More than the replicas can serve."""
    async with stage(**LIMITED) as (balancer, replicas):
        for replica in replicas:
            replica.median = 0.08
        async with load(balancer, 20, 0.5):
            await asyncio.sleep(25)
        async with load(balancer, 120, 0.3):
            await event(balancer, "overload")
            await asyncio.sleep(15)
            await take(OVERLOADED, chromium, balancer, into)


SCENES = {"ejected": ill, "overload": overloaded}


async def run(into: Path, only: str | None) -> None:
    """Take all pictures, or those of one scene."""
    with tempfile.TemporaryDirectory() as profile:
        async with driven(browser(), Path(profile)) as chromium:
            for name, scene in SCENES.items():
                if only in (None, name):
                    await scene(chromium, into)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.screenshots", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--into", type=Path, default=INTO, metavar="FOLDER")
    parser.add_argument("--only", choices=sorted(SCENES), help="pictures of one scene")
    options = parser.parse_args(argv)
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(run(options.into, options.only))
    except BenchError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
