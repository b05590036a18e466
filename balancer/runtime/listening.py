"""The listening sockets of an instance (L7): of each listener one for each worker slot.

A reload keeps the sockets of an address that stays: its accept queues live on. Sockets of other addresses, or
for more workers, are bound but not listening until a worker serves them, so that no client waits there.
"""

import socket
from collections.abc import Sequence

from balancer.config.address import Address
from balancer.runtime.sockets import bind_listeners, bound_address, open_listeners


class Listening:
    """`wanted` are the addresses of the settings: of the plain listener, and of that for TLS if there is one;
    `sockets` are those of each, by slot."""

    def __init__(self, wanted: Sequence[Address], sockets: Sequence[list[socket.socket]]) -> None:
        self.wanted = tuple(wanted)
        self._sockets = tuple(sockets)

    @classmethod
    def open(cls, wanted: Sequence[Address], slots: int) -> "Listening":
        """Listen for the first time. Raises StartupError if an address is not available."""
        opened: list[list[socket.socket]] = []
        try:
            opened.extend(open_listeners(address, slots) for address in wanted)
        except BaseException:
            _close(opened)
            raise
        return cls(wanted, opened)

    @property
    def slots(self) -> int:
        """How many each listener has sockets for."""
        return len(self._sockets[0])

    @property
    def addresses(self) -> list[Address]:
        """Where the listeners really listen."""
        return [bound_address(sockets[0]) for sockets in self._sockets]

    @property
    def descriptors(self) -> list[int]:
        """For a worker: those of the plain listener by slot, then those of the TLS listener."""
        return [number for numbers in self.by_listener for number in numbers]

    @property
    def by_listener(self) -> list[tuple[int, ...]]:
        """The descriptors of each listener, by slot."""
        return [tuple(sock.fileno() for sock in sockets) for sockets in self._sockets]

    def changed(self, wanted: Sequence[Address], workers: int) -> "Listening":
        """For other addresses, or more workers; it has the present sockets where the address stays. Raises
        StartupError if an address is not available; nothing has changed then."""
        slots = max(self.slots, workers)
        opened: list[list[socket.socket]] = []
        kept = list(zip(self.wanted, self._sockets, strict=True))
        ours = {address.port for address in self.addresses}
        try:
            for address in wanted:
                present = next((sockets for listens, sockets in kept if listens == address), [])
                kept = [each for each in kept if each[1] is not present]  # two may both listen on port 0
                where = bound_address(present[0]) if present else address
                # On a port of ours the address may change to one that includes the present one.
                shared = bool(present) or where.port in ours
                opened.append([*present, *bind_listeners(where, slots - len(present), shared=shared)])
        except BaseException:
            self._close_others(opened)
            raise
        return Listening(wanted, opened)

    def close_unless_in(self, other: "Listening | None" = None) -> None:
        """Close the sockets that the other one does not have."""
        kept = set() if other is None else {sock for sockets in other._sockets for sock in sockets}
        _close([[sock for sock in sockets if sock not in kept] for sockets in self._sockets])

    def _close_others(self, opened: Sequence[list[socket.socket]]) -> None:
        mine = {sock for sockets in self._sockets for sock in sockets}
        _close([[sock for sock in sockets if sock not in mine] for sockets in opened])


def _close(opened: Sequence[Sequence[socket.socket]]) -> None:
    for sockets in opened:
        for sock in sockets:
            sock.close()
