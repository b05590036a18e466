"""Closes the tunnels of a draining worker in good time, and not all at once (L6).

A tunnel does not end by itself, and when it does its client connects anew. If thousands did so in the same
moment, the instances that are left would have to deal with a burst of handshakes.
"""

from collections.abc import Iterable
from typing import Final

from balancer.clients.roles import Client
from balancer.lateness import SWEEP

_ANSWER_NS: Final = 5_000_000_000  # for both ends of a tunnel to end it, once the client has been told
_AT_ONCE: Final = 10  # tunnels per sweep that are closed in any case
_SWEEP_NS: Final = round(SWEEP * 1e9)


class TunnelDrain:
    """One drain, from `begun_ns` on for `drain_ns`. Call `look` at each sweep.

    Closing begins after three fifths of that time at the latest: a fifth is for closing them all, one by one,
    and the last fifth for the answers of their ends.
    """

    __slots__ = ("_begun_ns", "_close_by_ns", "_fifth_ns")

    def __init__(self, begun_ns: int, drain_ns: int) -> None:
        self._begun_ns = begun_ns
        self._fifth_ns = drain_ns // 5
        self._close_by_ns = 0  # when the last of those that are due is to be closed; 0: none is due

    def look(self, clients: Iterable[Client], now_ns: int) -> None:
        """Close the tunnels that are due, and end those whose ends have not ended them in time."""
        due: list[Client] = []
        passed_ns = now_ns - self._begun_ns
        latest_ns = 3 * self._fifth_ns
        for client in list(clients):
            tunnel = client.exchange.tunnel
            if tunnel is None:
                continue
            if tunnel.until_ns:
                if now_ns >= tunnel.until_ns:
                    client.exchange.end_tunnel()
            elif passed_ns >= min(tunnel.timeouts.tunnel_drain_ns, latest_ns):
                due.append(client)
        if not due:
            self._close_by_ns = 0
            return
        if not self._close_by_ns:
            self._close_by_ns = now_ns + self._fifth_ns
        sweeps = max((self._close_by_ns - now_ns) // _SWEEP_NS, 1)
        for client in due[: max(-(-len(due) // sweeps), _AT_ONCE)]:
            client.exchange.leave_tunnel(now_ns + min(self._fifth_ns, _ANSWER_NS))
