"""Limits on a worker's client connections: in all, per client, and which one is closed if all slots are
taken."""

from collections.abc import Collection
from operator import itemgetter
from typing import Final

from balancer.clients.roles import Guest
from balancer.errors import TOO_MANY_CONNECTIONS, TOO_MANY_FROM_CLIENT, Failure
from balancer.telemetry.columns import LISTENER_CONNECTIONS_RECLAIMED
from balancer.upstreams.fault import client_network

# Looking through all connections takes about 0.3 us for each. One look finds candidates, up to 1/_PART of all
# plus _A_FEW, that are closed one by one for new clients. If it finds fewer, the next look comes after
# _PAUSE_NS for each connection at the earliest.
_PART: Final = 4
_A_FEW: Final = 8
_PAUSE_NS: Final = 10_000


class Admission:
    """Counts the `admitted` connections: at most `most`, and at most `per_client` (0: no limit) from one
    address or IPv6 /64, except for trusted proxies, which stand for many clients.

    When all slots are taken, the connection that has been idle longest is closed for the new one, then those
    that linger with their last response, then those whose request head has been incomplete for too long. If
    there is none of these, the new one is refused. A connection is idle if it has sent nothing yet, or
    nothing since its last response was taken.
    """

    __slots__ = ("_arrivals", "_clients", "_looked_ns", "_most", "_of_network", "_per_client",
                 "_spare", "admitted")  # fmt: skip

    def __init__(
        self, most: int, per_client: int, clients: Collection[Guest], arrivals: Collection[Guest] = ()
    ) -> None:
        """`clients` and `arrivals`: all open connections, admitted or not."""
        self._most = most
        self._per_client = per_client
        self._clients = clients
        self._arrivals = arrivals
        self.admitted = 0
        self._of_network: dict[str, int] = {}  # admitted per network; only if there is a limit
        self._spare: list[tuple[int, Guest]] = []  # candidates for closing, highest rank first
        self._looked_ns = 0  # when the next look is allowed

    def admit(self, client: Guest, now_ns: int) -> Failure | None:
        """Admit a new client; returns the failure if it is one too many."""
        limited = self._per_client and not client.peer.trusted
        network = client_network(client.peer.address) if limited else ""
        if limited and self._of_network.get(network, 0) >= self._per_client:
            return TOO_MANY_FROM_CLIENT
        if self.admitted >= self._most and not self._make_room(now_ns):
            return TOO_MANY_CONNECTIONS
        client.admitted = True
        self.admitted += 1
        if limited:
            self._of_network[network] = self._of_network.get(network, 0) + 1
        return None

    def left(self, client: Guest) -> None:
        """Its connection is closed or closing."""
        if not client.admitted:
            return
        client.admitted = False
        self.admitted -= 1
        if self._per_client and not client.peer.trusted:
            network = client_network(client.peer.address)
            count = self._of_network[network] - 1
            if count:
                self._of_network[network] = count
            else:
                del self._of_network[network]

    def _make_room(self, now_ns: int) -> bool:
        if self._close_spare():
            return True
        if now_ns < self._looked_ns:
            return False
        self._look(now_ns)
        return self._close_spare()

    def _close_spare(self) -> bool:
        spare = self._spare
        while spare:
            rank, client = spare.pop()
            # It may have left, or been busy since: then its rank has changed.
            if client.admitted and client.spare_rank() == rank and client.make_room():
                self.left(client)
                client.counts.cells[LISTENER_CONNECTIONS_RECLAIMED] += 1
                return True
        return False

    def _look(self, now_ns: int) -> None:
        ranked = [(client.spare_rank(), client) for client in self._clients if client.admitted]
        ranked += [(guest.spare_rank(), guest) for guest in self._arrivals if guest.admitted]
        ranked = [(rank, client) for rank, client in ranked if rank >= 0]
        ranked.sort(key=itemgetter(0))
        count = len(self._clients) + len(self._arrivals)
        most = count // _PART + _A_FEW
        self._looked_ns = now_ns if len(ranked) >= most else now_ns + count * _PAUSE_NS
        self._spare = ranked[:most]
        self._spare.reverse()
