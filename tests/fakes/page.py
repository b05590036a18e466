"""A page in a real browser, in the hands of a test, by the DevTools protocol."""

import asyncio
import base64
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.browser import OPTIONS

PATIENCE = 30.0  # seconds after which a test has failed
_LISTENS = re.compile(rb"DevTools listening on (ws://\S+)")
_STEADY = 5  # frames
_MOST = 64 << 20  # bytes of a message: screenshots are long
# Runs in the page: resolves once the expression, which is looked at in each frame, is true, or after a while.
_UNTIL = """
new Promise((resolve) => {{
  const ends = performance.now() + {ms};
  const look = () => {{
    let value, error = null;
    try {{ value = ({expression}); }} catch (problem) {{ error = `${{problem}}`; }}
    if (value) resolve({{ met: true, value: typeof value === "object" ? null : value }});
    else if (performance.now() > ends) resolve({{ met: false, value: error ?? `${{value}}` }});
    else requestAnimationFrame(look);
  }};
  look();
}})
"""
# Key -> its code and virtual key code, for keys that type nothing.
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowDown": 40}


class PageError(AssertionError):
    """The page, or the browser, has refused something."""


class Browser:
    """A browser without a window, and the connection over which it is driven."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._asked.pop(said["id"]).set_result(said)
            elif page := self._pages.get(said.get("sessionId", "")):
                page.hear(said["method"], said["params"])
        for one in self._asked.values():
            one.set_exception(PageError("the browser has ended"))

    async def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        """A command of the protocol, and its result. Raises PageError."""
        self._number += 1
        answered = self._asked[self._number] = asyncio.get_running_loop().create_future()
        order = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json({**order, "sessionId": session} if session else order)
        async with asyncio.timeout(PATIENCE * 2):
            said = await answered
        if "error" in said:
            raise PageError(f"{method}: {said['error']['message']}")
        return said["result"]

    @asynccontextmanager
    async def page(
        self, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> AsyncIterator["Page"]:
        """An empty page that shares nothing with others: no storage, no cookies."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        try:
            target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            await page.looks(width=width, height=height, dark=dark)
            yield page
        finally:
            with suppress(PageError):
                await self.call("Target.disposeBrowserContext", browserContextId=context)

    async def close(self) -> None:
        await self._socket.close()
        await self._reading


class Page:
    """One page. `problems` are what its console complains of: exceptions, and what the content policy has
    prevented; `asked` are the URLs that it has asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.problems: list[str] = []
        self.asked: list[str] = []

    def hear(self, method: str, said: dict[str, Any]) -> None:
        """An event of the protocol."""
        if method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            if said["entry"]["source"] != "network":  # tests cause those themselves
                self.problems.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(one.get("value", one)) for one in said["args"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])

    async def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol about this page."""
        return await self._browser.call(method, self._session, **parameters)

    async def looks(self, *, width: int, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """The size of the window, in CSS pixels, and which colours the reader prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )  # fmt: skip
        await self.call("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, url: str) -> None:
        """Go there."""
        result = await self.call("Page.navigate", url=url)
        assert "errorText" not in result, result

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise; as JSON could hold it."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if details := result.get("exceptionDetails"):
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def until(self, expression: str, patience: float = PATIENCE) -> Any:
        """Wait until an expression is true, and return its value."""
        wait = _UNTIL.format(expression=expression, ms=patience * 1000)
        for _ in range(2):  # a page that is just being left forgets what it was asked
            with suppress(PageError):
                found = await self.evaluate(wait)
                break
        else:
            found = await self.evaluate(wait)
        assert found["met"], f"{expression} is {found['value']} after {patience:g} s; {self.problems}"
        return found["value"]

    async def shows(self, selector: str, text: str, patience: float = PATIENCE) -> None:
        """Wait until the first such element that can be seen has this text in it."""
        await self.until(_FIND.format(selector=json.dumps(selector), text=json.dumps(text)), patience)

    async def text(self, selector: str) -> str:
        """What can be read in the first such element, on one line."""
        query = f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"
        return " ".join(str(await self.evaluate(query)).split())

    async def click(self, selector: str) -> None:
        """A click of the mouse on the middle of an element, once it stays where it is."""
        look = _MIDDLE.format(selector=json.dumps(selector), ms=PATIENCE * 1000, steady=_STEADY)
        place = await self.evaluate(look)
        assert place, f"there is no {selector}, or it cannot be clicked"
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """A key that types nothing."""
        code = _KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        common = {
            "key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code,
            "modifiers": 8 if shift else 0,
        }  # fmt: skip
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        await self.call("Input.dispatchKeyEvent", **down, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def write(self, text: str) -> None:
        """Text into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def picture(self, *, whole: bool = False) -> bytes:
        """What can be seen, or the whole page, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])


_FIND = """
[...document.querySelectorAll({selector})].some(
  (one) => one.checkVisibility() && one.textContent.includes({text}))
"""
# The middle of an element, once it has stayed where it is for some frames, and nothing is above it.
_MIDDLE = """
new Promise((resolve) => {{
  const ends = performance.now() + {ms};
  let last = "", steady = 0;
  const look = () => {{
    const found = document.querySelector({selector});
    const box = found?.getBoundingClientRect();
    const place = box && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
    const hit = place && document.elementFromPoint(place.x, place.y);
    if (!hit || !(found === hit || found.contains(hit))) {{
      found?.scrollIntoView({{ block: "center", behavior: "instant" }});
      steady = 0;
    }} else {{
      steady = last === JSON.stringify(place) ? steady + 1 : 0;
    }}
    last = JSON.stringify(place);
    if (steady >= {steady}) resolve(place);
    else if (performance.now() > ends) resolve(null);
    else requestAnimationFrame(look);
  }};
  look();
}})
"""


@asynccontextmanager
async def driven(command: str, profile: Path) -> AsyncIterator[Browser]:
    """The browser, in a session of its own, which is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        command, *OPTIONS, f"--user-data-dir={profile}/profile", "about:blank",
        stdout=DEVNULL, stderr=PIPE, env={**os.environ, "HOME": str(profile)}, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        address = await _listens(process.stderr)
        draining = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            browser = Browser(await session.ws_connect(address, max_msg_size=_MOST))
            try:
                yield browser
            finally:
                await browser.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if draining is not None:
            await draining


async def _listens(stderr: asyncio.StreamReader) -> str:
    said = b""
    async with asyncio.timeout(PATIENCE):
        async for line in stderr:
            said += line
            if match := _LISTENS.search(line):
                return match[1].decode()
    raise PageError(f"the browser did not start: {said.decode(errors='replace')}")
