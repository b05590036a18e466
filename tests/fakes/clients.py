"""Clients with cookies that ask again and again while a test does something else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp


@asynccontextmanager
async def clients(
    url: str, count: int, pause: float, *, bodies: bool = False, answers: str = ""
) -> AsyncIterator[Counter[str]]:
    """What they get: statuses, or kinds of errors. Each pauses for so many seconds after each answer. With
    `bodies` every other request is a POST; `answers` is a header field whose values are counted too."""
    seen: Counter[str] = Counter()

    async def client(number: int) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            while True:
                number += 1
                body = b"order" if bodies and number % 2 else None
                try:
                    async with session.request("POST" if body else "GET", url, data=body) as response:
                        await response.read()
                    seen[str(response.status)] += 1
                    if answers:
                        seen[response.headers.get(answers, "none")] += 1
                except aiohttp.ClientError as error:
                    seen[type(error).__name__] += 1
                await asyncio.sleep(pause)

    tasks = [asyncio.create_task(client(number)) for number in range(count)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
