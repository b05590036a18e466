"""The demo's gentle load: a few clients that together send about fifty requests a second (L7)."""

import asyncio

import aiohttp

CLIENTS = 10  # also the most requests in flight
INTERVAL = 0.2  # seconds between two requests of one client
REQUEST_TIMEOUT = 10.0


class Load:
    """Keep-alive clients of one URL. `sent` counts finished requests, `failed` the failed ones of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.sent = 0
        self.failed = 0

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as clients,
        ):
            for number in range(CLIENTS):
                clients.create_task(self._client(session, number))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + INTERVAL * number / CLIENTS  # spread evenly over the interval
        while True:
            await asyncio.sleep(at - loop.time())
            await self._request(session)
            # After a slow answer the client does not catch up: missed turns are skipped.
            at = max(at + INTERVAL, loop.time())

    async def _request(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url) as response:
                await response.read()
                answered = response.ok
        except (aiohttp.ClientError, TimeoutError):
            answered = False
        self.sent += 1
        self.failed += not answered
