"""Names of upstreams (L6): the supervisor resolves them, at start and every few seconds, for the workers."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet, PoolState, UpstreamState

INTERVAL = 5.0
PATIENCE = 2.0

Lookup = Callable[[str], Awaitable[Sequence[str]]]


async def lookup_addresses(name: str) -> Sequence[str]:
    """The IP addresses of a name, IPv4 first; by the system's resolver, in a thread of the loop's pool.

    Raises OSError where there are none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # An app that listens on 0.0.0.0 is the common case, and `localhost` is ::1 to most resolvers.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return [str(entry[4][0]) for entry in found]


class NameWatch:
    """Keeps the addresses of named upstreams current in the fleet.

    The last good address stays while a name does not resolve; of several the present one is kept, so that
    a resolver that rotates its answers does not move the upstream about.
    """

    def __init__(
        self,
        fleet: Fleet,
        upstreams: list[tuple[PoolState, UpstreamState]],
        changed: Callable[[Message], None],
        log: logging.Logger,
        lookup: Lookup = lookup_addresses,
    ) -> None:
        self._fleet = fleet
        self._changed = changed
        self._log = log
        self._lookup = lookup
        self._by_name: dict[str, list[tuple[PoolState, UpstreamState]]] = {}
        for pool, upstream in upstreams:
            self._by_name.setdefault(upstream.host, []).append((pool, upstream))
        # A lookup that outlasts its round goes on, and no second one is started for its name: a resolver
        # that hangs must not fill the thread pool.
        self._running: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._failing: set[str] = set()

    async def resolve(self, patience: float = PATIENCE) -> None:
        """One round: all names at once, for at most `patience` seconds."""
        for name in self._by_name:
            if name not in self._running:
                self._running[name] = asyncio.create_task(self._look_up(name), name=f"resolve {name}")
        if not self._running:
            return
        done, _ = await asyncio.wait(self._running.values(), timeout=patience)
        for name, task in list(self._running.items()):
            if task not in done:
                self._failed(name, f"no answer within {patience:g} s")
                continue
            del self._running[name]
            try:
                self._resolved(name, task.result())
            except OSError as error:
                self._failed(name, error.strerror or str(error))
            except UnicodeError:
                self._failed(name, "it is no valid name")

    async def close(self) -> None:
        """Cancel lookups that still run."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _look_up(self, name: str) -> Sequence[str]:
        return await self._lookup(name)

    def _resolved(self, name: str, addresses: Sequence[str]) -> None:
        if not addresses:
            self._failed(name, "it has no address")
            return
        if name in self._failing:
            self._failing.discard(name)
            self._log.info("the name %s resolves again", name)
        for pool, upstream in self._by_name[name]:
            if upstream.address in addresses:
                continue
            level = logging.INFO if upstream.address else logging.DEBUG
            message = self._fleet.set_address(pool.name, upstream.id, addresses[0])
            if message is not None:
                self._log.log(level, "upstream %s of pool %s is at %s", upstream.id, pool.name, addresses[0])
                self._changed(message)

    def _failed(self, name: str, why: str) -> None:
        if name in self._failing:
            return  # said once, until it resolves again
        self._failing.add(name)
        known = self._by_name[name][0][1].address
        consequence = f"keeping {known}" if known else "it gets no requests until it resolves"
        self._log.warning("the name %s does not resolve (%s); %s", name, why, consequence)
