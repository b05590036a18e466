"""Changes from the dashboard: who may make them, the token, another operator in between, other pages."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.fakes.app_replica import app_replica
from tests.fakes.dashboard import button, dashboard, row
from tests.fakes.instance import Balancer, get, running
from tests.fakes.page import Browser, Page

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

TOKEN = "a-long-secret"


@asynccontextmanager
async def before_two(**settings: str) -> AsyncIterator[tuple[Balancer, str]]:
    """A balancer in front of two replicas, and the id of one."""
    async with (
        app_replica("one") as one,
        app_replica("two") as two,
        running(UPSTREAMS=f"{one.address},{two.address}", **settings) as balancer,
    ):
        yield balancer, one.address


async def opens(page: Page, label: str) -> None:
    """Click a button, and wait for its dialog."""
    await page.click(button(label))
    await page.until("document.querySelector('dialog').open")


async def state_of(balancer: Balancer, id: str) -> Any:
    return (await get(balancer.admin_port, f"/api/pools/default/upstreams/{id}")).json()


async def patch(balancer: Balancer, id: str, **body: Any) -> None:
    """What another operator does."""
    url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams/{id}"
    async with aiohttp.ClientSession() as session, session.patch(url, json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_on_the_same_machine_an_upstream_is_drained_and_activated(chromium: Browser) -> None:
    async with before_two() as (balancer, id), dashboard(chromium, balancer) as page:
        await opens(page, f"Drain {id}")
        await page.shows("#dialog-text", "It gets no new requests")
        assert not await page.evaluate(
            "document.querySelector('dialog input[type=password]').checkVisibility()"
        )
        await page.click("dialog button.main")
        await page.shows("#announcements", f"{id} is draining.")
        await page.shows(row(id), "draining")
        assert (await state_of(balancer, id))["admin_state"] == "draining"
        await opens(page, f"Activate {id}")
        await page.click("dialog button.main")
        await page.shows(f"{row(id)} .state", "active")
        await page.shows("#events li", "dashboard at 127.0.0.1 sets")


async def test_a_weight_is_set(chromium: Browser) -> None:
    async with before_two() as (balancer, id), dashboard(chromium, balancer) as page:
        await opens(page, f"Weight of {id}")
        await page.evaluate("document.querySelector('dialog input[type=number]').select()")
        await page.write("0")
        await page.click("dialog button.main")
        assert await page.evaluate("document.querySelector('dialog').open"), "0 is no weight"
        await page.evaluate("document.querySelector('dialog input[type=number]').select()")
        await page.write("3")
        await page.click("dialog button.main")
        await page.shows("#announcements", f"The weight of {id} is 3.")
        assert (await state_of(balancer, id))["weight"] == 3


async def test_the_token_is_asked_for_once_and_a_wrong_one_changes_nothing(chromium: Browser) -> None:
    async with before_two(ADMIN_TOKEN=TOKEN) as (balancer, id), dashboard(chromium, balancer) as page:
        await page.shows("#may", "Changes need the ADMIN_TOKEN")
        await opens(page, f"Drain {id}")
        await page.evaluate("document.querySelector('dialog input[type=password]').focus()")
        await page.write("guessed")
        await page.click("dialog button.main")
        await page.shows("dialog .alert", "The token was not accepted. Nothing was changed.")
        assert (await state_of(balancer, id))["admin_state"] == "active"
        assert await page.evaluate("document.activeElement.type") == "password"
        await page.write(TOKEN)
        await page.click("dialog button.main")
        await page.shows(row(id), "draining")

        await opens(page, f"Activate {id}")
        assert not await page.evaluate(
            "document.querySelector('dialog input[type=password]').checkVisibility()"
        )
        await page.click("dialog button.main")
        await page.shows(f"{row(id)} .state", "active")
        stored = await page.evaluate("JSON.stringify([localStorage, document.cookie, location.href])")
        assert TOKEN not in stored
        assert await page.evaluate("Object.values(sessionStorage)") == [TOKEN]


async def test_what_another_operator_has_changed_is_not_overwritten(chromium: Browser) -> None:
    async with before_two() as (balancer, id), dashboard(chromium, balancer) as page:
        await opens(page, f"Drain {id}")
        await patch(balancer, id, weight=5)
        await page.click("dialog button.main")
        await page.shows("dialog .alert", "Somebody has changed something since you opened this.")
        assert (await state_of(balancer, id))["admin_state"] == "active"
        # Asked for again, with the present state in view, it is made.
        await page.click("dialog button:not(.main)")
        await page.shows("#events li", "weight 5")
        await opens(page, f"Drain {id}")
        await page.click("dialog button.main")
        await page.shows(row(id), "draining")
        found = await state_of(balancer, id)
        assert (found["admin_state"], found["weight"]) == ("draining", 5)


async def test_where_nobody_may_change_things_the_page_says_what_to_set(chromium: Browser) -> None:
    async with before_two() as (balancer, id), chromium.page() as page:
        await page.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "10.0.0.9"})
        await page.open(f"http://127.0.0.1:{balancer.admin_port}/")
        await page.shows("#may", "Changes are off here:")
        await page.shows("#may", "BALANCER_ADMIN_TOKEN")
        states = await page.evaluate(
            "[...document.querySelectorAll('.actions button')].map((one) => one.disabled)"
        )
        assert states
        assert all(states)
        await page.click(button(f"Drain {id}"))
        assert not await page.evaluate("document.querySelector('dialog').open")


# What a page of another site tries against the balancer at `url`: each result is a status, or why it failed.
FOREIGN = """
(async (url, id) => {
  const target = `${url}/api/pools/default/upstreams/${id}`;
  const body = JSON.stringify({ admin_state: "draining" });
  const json = { "Content-Type": "application/json" };
  const tries = {
    patch: () => fetch(target, { method: "PATCH", headers: json, body }),
    simple: () => fetch(target, { method: "POST", mode: "no-cors", body }),
    form: () => fetch(`${url}/api/reload`, { method: "POST", mode: "no-cors", body: new FormData() }),
    delete: () => fetch(target, { method: "DELETE" }),
    cookies: () => fetch(target, { method: "PATCH", headers: json, body, credentials: "include" }),
    read: () => fetch(`${url}/api/overview`),
  };
  const found = {};
  for (const [name, ask] of Object.entries(tries)) {
    found[name] = await ask().then((answer) => answer.type, () => "refused");
  }
  const frame = document.createElement("iframe");
  frame.src = `${url}/`;
  document.body.append(frame);
  await new Promise((resolve) => (frame.onload = resolve));
  found.framed = frame.contentDocument === null ? "not readable" : "readable";
  return found;
})
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_page_of_another_site_changes_and_reads_nothing(chromium: Browser, host: str) -> None:
    """Also one on this machine, for which there is no token to guess."""

    async def blank(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>other</title><body></body>", content_type="text/html")

    other = web.Application()
    other.add_routes([web.get("/", blank)])
    async with before_two() as (balancer, id), TestServer(other) as server, chromium.page() as page:
        await page.open(str(server.make_url("/")))
        url = f"http://{host}:{balancer.admin_port}"
        found = await page.evaluate(f"{FOREIGN}({json.dumps(url)}, {json.dumps(id)})")
        assert found == {
            **dict.fromkeys(("patch", "delete", "cookies", "read"), "refused"),
            **dict.fromkeys(("simple", "form"), "opaque"),  # sent, and refused: see below
            "framed": "not readable",
        }
        assert (await state_of(balancer, id))["admin_state"] == "active"
        events = (await get(balancer.admin_port, "/api/events")).json()["events"]
        assert [one for one in events if one["kind"] in ("audit", "reload", "draining")] == []
        assert any("frame-ancestors 'none'" in one for one in page.problems), page.problems
