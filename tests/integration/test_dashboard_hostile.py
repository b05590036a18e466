"""What clients and apps have sent is text on the dashboard: script in any of it does not run."""

import json
import re
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.dashboard import Shown, dashboard, overview
from tests.fakes.instance import Client, running
from tests.fakes.page import Browser

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

# Each sets a global if it runs, or asks for a URL that nothing else asks for.
SCRIPTS = (
    "<script>globalThis.hit=1</script>",
    '"><img src=/hit onerror=globalThis.hit=1>',
    "<svg/onload=globalThis.hit=1>",
    "javascript:globalThis.hit=1",
    "'-globalThis.hit=1-'",
    "{{constructor.constructor('globalThis.hit=1')()}}",
)
HOSTILE = "".join(SCRIPTS)
# Strings that the page reads rather than shows.
_READ = re.compile(r"\d{4}-\d\d-\d\dT.*|bad|watch|ok|token|loopback|no|active|ejected|draining|\d+")


async def test_script_in_requests_is_text(chromium: Browser) -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address, TRUSTED_PROXIES="127.0.0.1", LIMITS__URI_BYTES="500") as balancer,
    ):
        for script in SCRIPTS:
            plain = script.replace(" ", "%09")
            long = f"/{plain}{'x' * 500}"
            for head in (
                f"GET /{plain} HTTP/1.1\r\nHost: {plain}\r\nUser-Agent: {script}\r\nX-Request-ID: {script}",
                f"GET {long} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {script}\r\nX-Request-ID: {plain}",
                f"GET /cut/{plain} HTTP/9.9\r\nHost: a.example\r\nX-Forwarded-For: {script}",
                f"{script} / HTTP/1.1\r\nHost: a.example",
            ):
                client = await Client.connect(balancer.port)
                client._writer.write(f"{head}\r\n\r\n".encode())
                await client._writer.drain()
                await client.answer()
                await client.close()
        async with dashboard(chromium, balancer) as page:
            await page.until("document.querySelectorAll('#failures li').length >= 10")
            assert await page.evaluate("globalThis.hit === undefined")
            assert not [url for url in page.asked if url.endswith("/hit")]


def hostile(value: Any) -> Any:
    """The same with script in each name and each text."""
    if isinstance(value, dict):
        plain = all(re.fullmatch(r"[a-z_0-9]+", name) for name in value)
        return {name if plain else f"{name}{HOSTILE}": hostile(one) for name, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and not _READ.fullmatch(value) else value


async def test_script_in_names_texts_and_causes_is_text(chromium: Browser) -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address, HEALTH_CHECK__ENABLED="false") as balancer,
    ):
        real = await overview(balancer)
    (pool,), (route,), (id,) = real["pools"], real["routes"], real["pools"]["default"]["upstreams"]
    upstream = real["pools"][pool]["upstreams"][id]
    upstream |= {"why": "why", "todo": "todo", "state": "ejected", "since": real["now"], "whose": "app"}
    real["pools"][pool]["problems"] = {"dns://a": "why"}
    # Names come from the settings, which allow none of this; the page relies on nobody.
    real["pools"] = {HOSTILE: {**real["pools"][pool], "upstreams": {HOSTILE: upstream}}}
    side = real["routes"][route]["sides"][pool]
    gate = {"passed": 1, "hold": 2, "abort_if": ["a"], "back_to": {"a": 1}, "waiting": "waits"}
    real["routes"] = {
        HOSTILE: {**real["routes"][route], "split": True, "gate": gate, "sides": {HOSTILE: side}}
    }
    real["findings"] = [
        {"level": "bad", "text": "text", "todo": "todo", "pool": HOSTILE, "upstream": HOSTILE, "since": None}
    ] * 2
    event = {
        "revision": 1,
        "time": real["now"],
        "kind": "kind",
        "pool": "pool",
        "upstream": None,
        "text": "text",
    }
    failure = {
        "time": real["now"], "status": 502, "reason": "reason", "source": "source", "detail": "detail",
        "client": "client", "method": "method", "target": "target", "host": "host", "route": "route",
        "pool": "pool", "request_id": "id",
        "attempts": [{"upstream": "upstream", "failure": "failure", "detail": "detail"}],
    }  # fmt: skip
    certificate = {
        "name": "name", "names": ["names"], "issuer": "issuer", "not_after": real["now"], "pools": [],
        "problem": "problem", "acme": {"state": "state", "error": "error"},
    }  # fmt: skip
    real |= {"events": [event], "failures": [failure], "certificates": [certificate]}
    shown = hostile(real)
    shown["instance"]["changes"] = {"allowed": "loopback", "hint": HOSTILE}
    states = {HOSTILE: {HOSTILE: [[0, "active"], [1_769_999_990, HOSTILE]]}}
    async with Shown(shown).served() as server, chromium.page() as page:
        server.history = {**server.history, "states": states}
        await page.open(server.url)
        await page.shows("h1", f"text{HOSTILE}")
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for part in ("#pools", "#events", "#failures", "#balancer"):
            await page.evaluate(f"document.querySelector({json.dumps(part)}).scrollIntoView()")
            await page.shows(part, HOSTILE)
        for place in ("#routes .split button", "#pools .actions button:not([hidden])"):
            await page.click(place)
            await page.until("document.querySelector('dialog').open")
            await page.shows("dialog h2", HOSTILE)
            await page.press("Escape")
            await page.until("!document.querySelector('dialog').open")
        assert await page.evaluate("globalThis.hit === undefined")
        assert await page.evaluate("document.querySelectorAll('script').length") == 1
        assert not [url for url in page.asked if "hit" in url and "api/history" not in url]
        links = await page.evaluate("[...document.links].map((one) => one.protocol)")
        assert set(links) == {"http:"}
        assert page.problems == [], "the content policy had to prevent something"


async def test_the_policy_prevents_what_a_mistake_would_allow(chromium: Browser) -> None:
    """It is the second line of defence: these are what the first one never does."""
    async with Shown({}).served() as server, chromium.page() as page:
        await page.open(server.url)
        await page.until("document.querySelector('main')")
        tries = {
            "markup": "document.body.innerHTML = '<img src=x onerror=globalThis.hit=1>'",
            "code": "setTimeout('globalThis.hit = 1')",
        }
        for code in tries.values():
            assert (
                await page.evaluate(
                    f"(() => {{ try {{ {code}; return 'done' }} catch {{ return 'refused' }} }})()"
                )
                == "refused"
            )
        await page.evaluate(
            """new Promise((resolve) => {
                 const script = document.createElement("script");
                 document.addEventListener("securitypolicyviolation", resolve, { once: true });
                 script.append("globalThis.hit = 1");
                 try { document.body.append(script); } catch { resolve(); }
               }).then(() => null)"""
        )
        assert await page.evaluate("globalThis.hit === undefined")
