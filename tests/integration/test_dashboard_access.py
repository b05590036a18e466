"""The dashboard for everybody: axe-core finds nothing, a keyboard is enough, a phone shows all of it."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.dashboard import button, dashboard, row
from tests.fakes.instance import event, get, running
from tests.fakes.page import Browser, Page
from tests.fakes.tools import missing

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / ".venv/node/node_modules/axe-core/axe.min.js"
SPLIT = [
    {"name": "api", "match": {"path_prefix": "/api"}, "pool": "stable"},
    {"name": "web", "split": [{"pool": "stable", "weight": 90}, {"pool": "canary", "weight": 10}]},
]
# Its rules, best practices included; a page that nobody can find fault with has no violations.
_RUN = """
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
  violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).slice(0, 3)}`))
"""
LOOKS = {
    "light desktop": {"width": 1280, "dark": False},
    "dark desktop": {"width": 1280, "dark": True},
    "light phone": {"width": 390, "height": 844, "dark": False},
    "dark phone": {"width": 390, "height": 844, "dark": True},
}


async def violations(page: Page) -> list[str]:
    """What axe-core finds."""
    if not AXE.exists():
        missing(f"{AXE} is missing: install npm, and then run make setup")
    if not await page.evaluate("'axe' in globalThis"):
        await page.evaluate(AXE.read_text(encoding="utf-8") + ";null")
    found: list[str] = await page.evaluate(_RUN)
    return found


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_no_violation(chromium: Browser, look: str) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(4)]
        apps[0].status = 500
        settings = {
            "POOLS__STABLE__UPSTREAMS": ",".join(app.address for app in apps[:3]),
            "POOLS__CANARY__UPSTREAMS": apps[3].address,
            "ROUTES": json.dumps(SPLIT),
            "SLO__LATENCY": "300ms",
            "HEALTH_CHECK__INTERVAL": "200ms",
            "LIMITS__URI_BYTES": "500",
        }
        balancer = await stack.enter_async_context(running(**settings))
        await event(balancer, "ejected")
        await get(balancer.port, f"/{'x' * 600}")
        page = await stack.enter_async_context(dashboard(chromium, balancer, **LOOKS[look]))
        await page.shows("h1", apps[0].address)
        await page.shows("#failures li", "414")
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        await page.until("document.querySelector('.chart .line')?.getAttribute('d') !== undefined")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
        await page.click(button(f"Drain {apps[1].address}"))
        await page.until("document.querySelector('dialog').open")
        assert await violations(page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_that_figures_are_stale_stays_in_sight_and_can_be_read(chromium: Browser, dark: bool) -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address) as balancer,
        dashboard(chromium, balancer, width=390, height=844, dark=dark) as page,
    ):
        balancer.signal(signal.SIGKILL)
        await page.shows("#live", "Stale since")
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        top = "document.querySelector('#live').getBoundingClientRect()"
        await page.until(f"scrollY > 0 && {top}.top >= 0 && {top}.bottom < innerHeight")
        assert await violations(page) == []


async def test_an_upstream_is_drained_by_keyboard_alone(chromium: Browser) -> None:
    async with (
        app_replica("one") as one,
        app_replica("two") as two,
        running(UPSTREAMS=f"{one.address},{two.address}") as balancer,
        dashboard(chromium, balancer) as page,
    ):
        await page.press("Tab")
        assert await page.text(":focus") == "Skip to the findings"
        await page.press("Enter")
        label = f"Drain {one.address}"
        for _ in range(60):
            if await page.evaluate("document.activeElement.getAttribute('aria-label')") == label:
                break
            await page.press("Tab")
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"), (
                "the focus cannot be seen"
            )
        else:
            raise AssertionError("the button cannot be reached")
        await page.press("Enter")
        await page.until("document.querySelector('dialog').open")
        for _ in range(10):
            if await page.evaluate("document.activeElement.classList.contains('main')"):
                break
            await page.press("Tab")
        await page.press("Space")
        await page.shows(row(one.address), "draining")
        # The focus is on the page, near to where it was, and Escape closes a dialog.
        await page.evaluate(
            f"document.querySelector({json.dumps(button('Activate ' + one.address))}).focus()"
        )
        await page.press("Enter")
        await page.until("document.querySelector('dialog').open")
        await page.press("Escape")
        await page.until("!document.querySelector('dialog').open")
        focused = await page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == f"Activate {one.address}"


async def test_the_structure_is_said_to_those_who_do_not_see_it(chromium: Browser) -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address) as balancer,
        dashboard(chromium, balancer) as page,
    ):
        tree = (await page.call("Accessibility.getFullAXTree"))["nodes"]
        named: set[tuple[str, str]] = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"]
        }
        roles = {role for role, _ in named}
        assert {"banner", "main", "navigation", "contentinfo", "heading", "table", "row"} <= roles
        assert ("table", "Upstreams of pool default, the worst first") in named
        assert {"Routes", "Pools and their upstreams", "Last events", "Last failures"} <= {
            name for role, name in named if role == "heading"
        }
        assert ("columnheader", "Share / weight") in named
        images = [name for role, name in named if role in ("image", "img")]
        assert all(images), "an image says nothing"


async def test_unchanged_news_are_not_announced(chromium: Browser) -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address) as balancer,
        dashboard(chromium, balancer) as page,
    ):
        await page.evaluate(
            """globalThis.said = 0;
               new MutationObserver(() => { said += 1; }).observe(
                 document.querySelector("#announcements"), { childList: true, subtree: true });
               null"""
        )
        clock = await page.text("#clock")
        await asyncio.gather(*(get(balancer.port) for _ in range(5)))
        for _ in range(3):
            await page.until(f"document.querySelector('#clock').textContent !== {json.dumps(clock)}")
            clock = await page.text("#clock")
        assert await page.evaluate("said") == 0
