"""What a person sees on the dashboard of a real balancer: an ejection, an overload, a split, silence."""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.dashboard import Shown, button, dashboard, overview, row
from tests.fakes.instance import Balancer, event, get, running
from tests.fakes.page import Browser

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

SPLIT = [{"name": "web", "split": [{"pool": "stable", "weight": 90}, {"pool": "canary", "weight": 10}]}]


@asynccontextmanager
async def before(count: int, **settings: str) -> AsyncIterator[tuple[Balancer, list[AppReplica]]]:
    """A balancer in front of `count` replicas."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(count)]
        upstreams = ",".join(app.address for app in apps)
        yield await stack.enter_async_context(running(UPSTREAMS=upstreams, **settings)), apps


@asynccontextmanager
async def load(balancer: Balancer, clients: int) -> AsyncIterator[None]:
    """So many clients, each of which asks again when it is answered."""

    async def asks(session: aiohttp.ClientSession) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{balancer.port}/") as answer:
                    await answer.read()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(asks(session)) for _ in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def test_an_ejected_replica_is_in_the_first_line_with_since_why_and_what_to_do(
    chromium: Browser,
) -> None:
    settings = {"OUTLIER__EJECTION_TIME": "1m", "HEALTH_CHECK__INTERVAL": "200ms"}
    async with before(4, **settings) as (balancer, apps), dashboard(chromium, balancer) as page:
        await page.shows("h1", "All 4 upstreams serve")
        assert await page.evaluate("document.querySelector('#now').dataset.level") == "ok"
        ill = apps[2]
        ill.status = 500
        await event(balancer, "ejected")
        await page.shows("h1", ill.address)
        said = await page.text("h1")
        assert "of pool default is out" in said
        assert "The other 3 upstreams serve." in said
        assert await page.evaluate("document.querySelector('#now').dataset.level") != "ok"
        answers = await page.text("#now .answers")
        assert re.search(r"Since when \d\d:\d\d:\d\d, \d+ s ago", answers), answers
        assert "Why 500 on /" in answers
        assert "look at its log" in answers
        assert "Is it the balancer? No." in answers
        assert ill.address in await page.evaluate("document.title")

        # The pool is not green, and the ill one is its first.
        await page.shows(".card h3", "1 of 4 out")
        assert await page.evaluate("document.querySelector('#pools .card').dataset.kind") == "watch"
        first = await page.text("#pools tbody tr")
        assert first.startswith(f"{ill.address} ejected")
        await page.evaluate("document.querySelector('#pools').scrollIntoView()")
        track = f"document.querySelector({json.dumps(row(ill.address))}).querySelector('.track')"
        await page.until(f"{track}.getAttribute('aria-label').includes('ejected from')")
        await page.shows("#events li", f"ejected {ill.address} ejected")

        # It recovers, and so does the page.
        ill.status = 200
        await page.shows(row(ill.address), "active", patience=60)


async def test_an_overload_is_told_with_figures_and_the_pool_is_the_first(chromium: Browser) -> None:
    settings = {
        "LIMITS__MAX_INFLIGHT": "2",
        "LIMITS__QUEUE_TIMEOUT": "500ms",
        "HEALTH_CHECK__ENABLED": "false",
    }
    async with (
        before(2, **settings) as (balancer, apps),
        dashboard(chromium, balancer) as page,
        load(balancer, 60),
    ):
        for app in apps:
            app.takes = 0.05
        await event(balancer, "overload")
        await page.shows("h1", "Pool default is overloaded: it serves")
        assert re.search(r"it serves [\d.]+/s and refuses [\d.,]+/s", await page.text("h1"))
        await page.shows("#pools .card h3", "overloaded")
        await page.shows("#pools .card .alert", "Overloaded since")
        shown = await page.text("#pools .card .figures")
        assert re.search(r"In flight / limit \d+ / 4 ", shown), shown
        assert re.search(r"In the queue \d+ ", shown), shown
        await page.shows("#failures li", "would_time_out")


async def test_the_sides_of_a_split_are_beside_each_other_and_can_be_changed(chromium: Browser) -> None:
    async with AsyncExitStack() as stack:
        stable, canary = [await stack.enter_async_context(app_replica(name)) for name in ("one", "two")]
        settings = {
            "POOLS__STABLE__UPSTREAMS": stable.address,
            "POOLS__CANARY__UPSTREAMS": canary.address,
            "ROUTES": json.dumps(SPLIT),
        }
        balancer = await stack.enter_async_context(running(**settings))
        page = await stack.enter_async_context(dashboard(chromium, balancer))
        for _ in range(20):
            await get(balancer.port)
        assert await page.text(".sides thead") == "Side stable canary"
        await page.shows(".sides", "Weight9010")
        await page.until("/n\\s=\\s\\d+/.test(document.querySelector('.sides').textContent)")

        await page.click("#routes .split button")
        await page.until("document.querySelector('dialog').open")
        await page.evaluate("document.querySelectorAll('dialog input[type=number]')[1].select()")
        await page.write("30")
        await page.click("dialog button.main")
        await page.shows("#announcements", "Route web is split stable=90 canary=30.")
        await page.shows(".sides", "Weight9030")
        await page.shows("#routes .alert.calm", "back to stable=90 canary=10")


async def test_a_failure_says_what_was_tried_and_leads_to_its_explanation(chromium: Browser) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        async with running(UPSTREAMS=address, HEALTH_CHECK__ENABLED="false") as balancer:
            failed = await get(balancer.port, "/cart?secret=1")
            assert failed.status == 502
            async with dashboard(chromium, balancer) as page:
                await page.shows("#failures li", "502 connect_refused")
                text = await page.text("#failures li")
                assert "GET test.localhost /cart?..." in text
                assert f"tried {address} connect_refused" in text
                assert "secret" not in text
                link = await page.evaluate("document.querySelector('#failures a').getAttribute('href')")
                id = await page.text("#failures li .note code")
                assert link == f"explain?id={id}"


async def test_figures_are_of_this_instance_and_times_in_utc_and_nothing_comes_from_elsewhere(
    chromium: Browser,
) -> None:
    async with before(1) as (balancer, _), dashboard(chromium, balancer) as page:
        await page.shows("#name", socket.gethostname())
        await page.shows("footer", "those of this instance only")
        await page.shows("#clock", "UTC")
        await page.shows("#pools .card", "How much more it can take: not known yet")
        await page.shows("#workers", "worker 0")
        assert {url.split("/")[2] for url in page.asked} == {f"127.0.0.1:{balancer.admin_port}"}


async def test_a_silent_balancer_makes_the_page_stale_until_it_speaks_again(chromium: Browser) -> None:
    async with before(1) as (balancer, _), dashboard(chromium, balancer) as page:
        os.kill(balancer.pid, signal.SIGSTOP)
        try:
            await page.until(
                "/^Stale since \\d\\d:\\d\\d:\\d\\d UTC/.test(document.querySelector('#live').textContent)"
            )
            assert await page.evaluate("document.title.includes('stale since')")
            await page.shows("#announcements", "Stale since")
        finally:
            os.kill(balancer.pid, signal.SIGCONT)
        await page.until("document.querySelector('#live').textContent === 'live'")
        assert await page.evaluate("document.body.dataset.stale === undefined")


async def test_a_balancer_that_is_gone_is_told_at_once(chromium: Browser) -> None:
    async with before(1) as (balancer, _), dashboard(chromium, balancer) as page:
        balancer.signal(signal.SIGKILL)
        await page.shows("#live", "Stale since")
        await page.shows("#live", "the balancer does not answer")


async def test_a_page_that_is_loaded_again_has_the_history(chromium: Browser) -> None:
    async with before(2) as (balancer, apps), dashboard(chromium, balancer) as page:
        await page.evaluate("document.querySelector('#pools').scrollIntoView()")
        await page.until("document.querySelector('.track title')")
        await page.call("Page.reload")
        await page.shows("#pools .card", apps[0].address)
        await page.evaluate("document.querySelector('#pools').scrollIntoView()")
        await page.until("document.querySelector('.track title')")
        assert await page.evaluate(
            f"document.querySelector({json.dumps(button('Drain ' + apps[0].address))}) !== null"
        )


async def test_without_a_stream_the_page_asks_for_the_figures(chromium: Browser) -> None:
    """Only so many streams are open at a time; nobody is turned away."""
    async with before(1) as (balancer, _):
        shown = Shown(await overview(balancer))
    shown.refuses = True
    async with shown.served(), chromium.page() as page:
        await page.open(shown.url)
        await page.shows("h1", "The only upstream serves")
        assert await page.text("#live") == "live"
        shown.overview["now"] = "2026-02-01T12:03:04.000Z"
        await page.shows("#clock", "12:03:04 UTC")
