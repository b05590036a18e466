"""Clients of a name with several addresses. If a connect fails they try the next one; they retry nothing.

`next_address.py NAME PORT` runs in a container, until TERM, and prints its counts as JSON.
"""

import asyncio
import json
import random
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes import visitors
else:
    sys.path.append(str(Path(__file__).parent))
    import visitors

EVERY = 0.01  # seconds between two clients
CONNECT_SECONDS = 1.0


class Name:
    """A name, resolved anew for each connection. `refused` counts failed connects by their errors."""

    def __init__(self, host: str, port: str) -> None:
        self._host = host
        self._port = port
        self.refused: Counter[str] = Counter()

    async def connect(self) -> visitors.Stream:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for *_, address in random.sample(found, len(found)):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(*address[:2])
            except (OSError, TimeoutError) as error:
                self.refused[type(error).__name__] += 1
        raise ConnectionError("no address accepts a connection")


async def main() -> None:
    name = Name(*sys.argv[1:])
    clients = visitors.Visitors(name.connect, EVERY)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    async with clients.coming():
        await end.wait()
    print(
        json.dumps(
            {
                "requests": len(clients.visits),
                "failures": clients.failures(),
                "refused": name.refused,
                "longest": clients.longest(),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
