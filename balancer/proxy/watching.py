"""Which requests an operator wants explained for a while: `balancer explain --watch`."""

import ipaddress
from typing import Final, TypeAlias

from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.messages import Watch
from balancer.proxy.route_table import NONE, RouteTable
from balancer.spec.worker import MatchSpec

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_NO_MATCH: Final = MatchSpec()


class Watching:
    """All that `watch` names must be so; what it leaves empty may be anything."""

    __slots__ = ("_clients", "_route", "_table", "until_ns")

    def __init__(self, watch: Watch) -> None:
        self.until_ns = watch.until_ns
        self._clients = ipaddress.ip_network(watch.client, strict=False) if watch.client else None
        self._route = watch.route
        match = MatchSpec(
            hosts=(watch.host,) if watch.host else (),
            path_prefixes=(watch.path,) if watch.path else (),
            methods=(watch.method,) if watch.method else (),
        )
        self._table = None if match == _NO_MATCH else RouteTable([match])

    def wants(self, head: RequestHead, peer: Peer, route: str) -> bool:
        """Whether it is about such a request. Raises ProtocolError, as a match of routes does."""
        if self._route and route != self._route:
            return False
        if self._clients is not None and not _is_in(peer.client_address(head), self._clients):
            return False
        if self._table is None:
            return True
        path = head.target.partition(b"?")[0]
        return self._table.find(path, head, peer) != NONE


def _is_in(address: str, clients: _Network) -> bool:
    try:
        return ipaddress.ip_address(address) in clients
    except ValueError:  # the peer of a unix socket
        return False
