"""Closes the tunnels of a draining worker in good time, and not all at once (L6).

A tunnel does not end by itself, and when it does its client connects anew. If thousands did so in the same
moment, the instances that are left would have to deal with a burst of handshakes.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from balancer.clients.roles import Client
from balancer.lateness import SWEEP

_ANSWER_NS: Final = 5_000_000_000  # for both ends of a tunnel to end it, once the client has been told
_LEAST: Final = 10  # tunnels per sweep that are closed in any case
_AT_ONCE: Final = 64  # in one turn of the loop: takes about 2 ms
_SWEEP_NS: Final = round(SWEEP * 1e9)


class TunnelDrain:
    """One drain, from `begun_ns` on for `drain_ns`, of `clients`, a live view. Call `look` at each sweep.

    Closing begins after three fifths of that time at the latest: a fifth is for closing them all, one by one,
    and the last fifth for the answers of their ends. `first_ns`: no route closes its tunnels before that time
    of the drain.
    """

    __slots__ = ("_begun_ns", "_clients", "_close_by_ns", "_fifth_ns", "_first_ns", "_loop")

    def __init__(
        self,
        clients: Collection[Client],
        loop: asyncio.AbstractEventLoop,
        begun_ns: int,
        drain_ns: int,
        first_ns: int,
    ) -> None:
        self._clients = clients
        self._loop = loop
        self._begun_ns = begun_ns
        self._fifth_ns = drain_ns // 5
        self._first_ns = min(first_ns, 3 * self._fifth_ns)
        self._close_by_ns = 0  # when the last of those that are due is to be closed; 0: none is due

    def look(self, now_ns: int) -> None:
        """Close some of the tunnels that are due."""
        passed_ns = now_ns - self._begun_ns
        if passed_ns < self._first_ns:
            return
        latest_ns = 3 * self._fifth_ns
        due: list[Client] = []
        for client in self._clients:
            tunnel = client.exchange.tunnel
            if tunnel is None or tunnel.leaves:
                continue
            if passed_ns >= min(tunnel.timeouts.tunnel_drain_ns, latest_ns):
                due.append(client)
        if not due:
            self._close_by_ns = 0
            return
        if not self._close_by_ns:
            self._close_by_ns = now_ns + self._fifth_ns
        sweeps = max((self._close_by_ns - now_ns) // _SWEEP_NS, 1)
        self._close(due[: max(-(-len(due) // sweeps), _LEAST)], now_ns + min(self._fifth_ns, _ANSWER_NS))

    def _close(self, clients: list[Client], until_ns: int) -> None:
        if len(clients) > _AT_ONCE:
            self._loop.call_soon(self._close, clients[_AT_ONCE:], until_ns)
        for client in clients[:_AT_ONCE]:
            if client not in self._clients:
                continue
            tunnel = client.exchange.tunnel
            if tunnel is not None and not tunnel.leaves:
                client.exchange.leave_tunnel(until_ns)
