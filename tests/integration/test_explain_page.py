"""The page of an explained request: what a person sees, what script in a request does, who can use it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from balancer.admin import pages
from balancer.spec.part import encode, encode_plain
from tests.fakes.app_replica import app_replica
from tests.fakes.dashboard import dashboard
from tests.fakes.explained import explanation
from tests.fakes.instance import Balancer, get, running
from tests.fakes.page import Browser, Page
from tests.integration.test_dashboard_access import LOOKS, violations
from tests.integration.test_dashboard_hostile import HOSTILE, hostile
from tests.integration.test_explain import nobody

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def explained(browser: Browser, balancer: Balancer, request_id: str = "") -> AsyncIterator[Page]:
    async with browser.page() as page:
        query = f"?id={quote(request_id)}" if request_id else ""
        await page.open(f"http://127.0.0.1:{balancer.admin_port}/explain{query}")
        yield page


async def fail(balancer: Balancer, request_id: str) -> None:
    """A request that the balancer answers with an error of its own; returns when it is explained."""
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.port}/x?token=secret"
        async with session.get(url, headers={"X-Request-ID": request_id}) as answer:
            assert answer.status == 502
        while True:
            told = await session.get(
                f"http://127.0.0.1:{balancer.admin_port}/api/explain/{quote(request_id)}"
            )
            if told.status == 200:
                break


async def test_the_dashboard_leads_from_a_failure_to_its_explanation(chromium: Browser) -> None:
    async with nobody() as address, running(UPSTREAMS=address, HEALTH_CHECK__ENABLED="false") as balancer:
        await fail(balancer, "the-failed-one")
        async with dashboard(chromium, balancer) as page:
            await page.shows("#failures li", "the-failed-one")
            await page.click("#failures a")
            await page.shows("article h2", "/x?token=***")
            said = await page.text("article")
            assert "502 after" in said
            assert "connect_refused" in said
            assert "To act: upstream." in said
            assert f"no connection to {address}" in said
            assert "Nobody had asked for this request when it began" in said
            assert "secret" not in said


async def test_an_id_is_asked_for_by_keyboard_and_an_unknown_one_says_what_is_kept(chromium: Browser) -> None:
    async with app_replica() as app, running(UPSTREAMS=app.address) as balancer:
        await get(balancer.port)
        async with explained(chromium, balancer) as page:
            await page.shows("#said", "No request is explained yet")
            await page.evaluate("document.getElementById('id').focus()")
            await page.write("nothing")
            await page.press("Enter")
            await page.shows("#said", "no request 'nothing' is explained here")
            await page.shows("#said", "EXPLAIN__SAMPLE (now 0)")
            assert await page.evaluate("location.search") == "?id=nothing"
            await page.evaluate("history.back()")
            await page.shows("#said", "No request is explained yet")


async def test_the_list_leads_to_each(chromium: Browser) -> None:
    async with nobody() as address, running(UPSTREAMS=address, HEALTH_CHECK__ENABLED="false") as balancer:
        for name in ("first", "second"):
            await fail(balancer, name)
        async with explained(chromium, balancer) as page:
            await page.shows("tbody tr", "second")
            await page.click("tbody a")
            await page.shows("article .facts", "502")


@asynccontextmanager
async def served(answer: Any) -> AsyncIterator[str]:
    """The page, and this answer to what it asks for; yields the page's URL."""

    async def told(request: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.add_routes([*pages.ROUTES, web.get("/api/explain", told), web.get("/api/explain/{id:.+}", told)])
    async with TestServer(app, shutdown_timeout=0.1) as server:
        yield str(server.make_url("/explain"))


async def test_script_in_an_explanation_is_text(chromium: Browser) -> None:
    one = hostile(json.loads(encode(explanation(notes=("note",)))))
    async with (
        served({"request_id": "r", "explanations": [one]}) as url,
        chromium.page() as page,
    ):
        await page.open(f"{url}?id={quote(HOSTILE)}")
        await page.shows("article h2", HOSTILE)
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for part in (".story", ".loads", ".facts", ".hint"):
            await page.shows(f"article {part}", HOSTILE)
        assert await page.evaluate("globalThis.hit === undefined")
        assert await page.evaluate("document.querySelectorAll('script').length") == 1
        assert not [asked for asked in page.asked if asked.endswith("/hit")]
        assert set(await page.evaluate("[...document.links].map((one) => one.protocol)")) == {"http:"}
        assert page.problems == []


async def test_script_in_the_list_is_text(chromium: Browser) -> None:
    names = ("request_id", "began", "why", "client", "method", "target", "host", "route", "pool", "upstream")
    one = {**dict.fromkeys(names, HOSTILE), "status": 502, "reason": HOSTILE, "attempts": 1, "duration": 4.5}
    async with served({"requests": [one]}) as url, chromium.page() as page:
        await page.open(url)
        await page.shows("tbody", HOSTILE)
        assert await page.evaluate("globalThis.hit === undefined")
        assert set(await page.evaluate("[...document.links].map((one) => one.protocol)")) == {"http:"}
        assert page.problems == []


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_no_violation(chromium: Browser, look: str) -> None:
    looks: dict[str, Any] = {**LOOKS[look]}
    one = encode_plain(explanation(notes=("A note.",)))
    async with (
        served({"request_id": "r", "explanations": [one, one]}) as url,
        chromium.page(**looks) as page,
    ):
        await page.open(f"{url}?id=r")
        await page.shows("article", "What happened")
        assert await violations(page) == []
        width = await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert width, json.dumps(look)
