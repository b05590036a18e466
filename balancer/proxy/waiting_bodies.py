"""What requests without a connection hold of their bodies, in one worker (L5).

While a request waits for a slot or for a dial, the part of its body that came with its head stays in memory:
a read of 256 KB at most. Without a bound, the clients of an app that hangs could take all memory of a small
machine.
"""

import asyncio
from typing import Final, Protocol

MOST: Final = 64 << 20  # bytes, for all requests of a worker together


class Holder(Protocol):
    """A request that waits."""

    def give_way(self) -> None:
        """There is no memory for its body any more. Does not raise."""


class _Client:
    """The requests from one network: bytes of each, in the order in which they came, and together."""

    __slots__ = ("holders", "total")

    def __init__(self) -> None:
        self.holders: dict[Holder, int] = {}
        self.total = 0


class WaitingBodies:
    """Who holds how much; `held` bytes together. If there is no room for more, the last one of the client
    that holds most gives way, in the loop's next turn: large bodies of one take nothing from the others."""

    __slots__ = ("_clients", "_loop", "_network_of", "held")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.held = 0
        self._loop = loop
        self._network_of: dict[Holder, str] = {}
        self._clients: dict[str, _Client] = {}  # by network

    def hold(self, holder: Holder, network: str, size: int) -> bool:
        """Let `holder`, whose client is in `network`, hold `size` bytes more. Returns False if there is no
        room, and its own client would hold most: it then holds nothing."""
        client = self._clients.get(network)
        if client is None:
            client = self._clients[network] = _Client()
        while self.held + size > MOST:
            if not self._find_room(client.total + size):
                if holder in client.holders:
                    self.release(holder)
                elif not client.holders:
                    del self._clients[network]
                return False
        client.holders[holder] = client.holders.get(holder, 0) + size
        client.total += size
        self._network_of[holder] = network
        self.held += size
        return True

    def release(self, holder: Holder) -> None:
        """It no longer waits; it may hold nothing."""
        network = self._network_of.pop(holder, None)
        if network is None:
            return
        client = self._clients[network]
        size = client.holders.pop(holder)
        client.total -= size
        self.held -= size
        if not client.holders:
            del self._clients[network]

    def _find_room(self, than: int) -> bool:
        """Let the last one of the client that holds most give way, if that is more `than` these bytes."""
        largest = max(self._clients.values(), key=_total)
        if largest.total <= than:
            return False
        last = next(reversed(largest.holders))
        self.release(last)
        self._loop.call_soon(last.give_way)
        return True


def _total(client: _Client) -> int:
    return client.total
