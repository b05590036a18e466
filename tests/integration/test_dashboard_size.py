"""The dashboard of a large instance: 1,000 upstreams in 50 pools, behind 50 routes."""

import json

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.dashboard import dashboard
from tests.fakes.instance import get, running
from tests.fakes.page import Browser

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

POOLS, EACH = 50, 20
MOST = 16.0  # ms of scripting for an update: a frame
MOST_ELEMENTS = 6_000


async def test_a_thousand_upstreams_behind_fifty_routes_stay_usable(chromium: Browser) -> None:
    async with app_replica() as app:
        port = app.address.rpartition(":")[2]
        pools = {
            f"pool{number}": {
                "upstreams": [f"127.0.{number}.{one}:{port}" for one in range(1, EACH + 1)],
            }
            for number in range(POOLS)
        }
        routes = [
            {"name": f"route{number}", "match": {"path_prefix": f"/{number}"}, "pool": f"pool{number}"}
            for number in range(POOLS)
        ]
        settings = {
            f"POOLS__{name.upper()}__UPSTREAMS": ",".join(one["upstreams"]) for name, one in pools.items()
        }
        settings |= {
            "ROUTES": json.dumps(routes),
            "HEALTH_CHECK__ENABLED": "false",
            "OUTLIER__ENABLED": "false",
        }
        async with running(**settings) as balancer, dashboard(chromium, balancer) as page:
            await page.shows("h1", "1,000 upstreams serve")
            await page.shows("#totals", "1,000 of 1,000")
            assert await page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
            times = []
            clock = ""
            for number in range(6):
                await get(balancer.port, f"/{number}/")
                await page.evaluate(f"scrollTo(0, {number * 700})")
                await page.until(f"document.querySelector('#clock').textContent !== {json.dumps(clock)}")
                clock = await page.evaluate("document.querySelector('#clock').textContent")
                times.append(await page.evaluate("performance.getEntriesByName('update')[0].duration"))
            assert sorted(times)[len(times) // 2] < MOST, times

            # One of them is found by its name, without all the others on the page.
            await page.evaluate("document.querySelector('#pools > .filter input').focus()")
            await page.write("pool42")
            await page.until("document.querySelectorAll('#pools .card').length === 1")
            await page.shows("#pools .card", "8 of 20 upstreams, the worst first")
            await page.click("#pools .card .foot button")
            await page.shows("#pools .card", "127.0.42.20")
