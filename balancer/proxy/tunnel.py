"""After an upgrade: bytes pass both ways as they come, with back-pressure, until either side ends."""

from typing import TYPE_CHECKING

from balancer.connections.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from balancer.proxy.client_connection import ClientConnection
    from balancer.proxy.proxy import Proxy


class Tunnel:
    """Joins a client and an upstream connection. Silence both ways for `tunnel_idle` ends it."""

    __slots__ = ("_client", "_connection", "_proxy", "received", "sent")

    def __init__(self, client: "ClientConnection", connection: UpstreamConnection, proxy: "Proxy") -> None:
        self._client = client
        self._connection = connection
        self._proxy = proxy
        self.received = 0  # bytes from the client
        self.sent = 0  # bytes to the client
        self.stay()

    def stay(self) -> None:
        """There is life in it: the idle time begins anew."""
        proxy = self._proxy
        self._client.deadline_ns = proxy.monotonic_ns() + proxy.timeouts.tunnel_idle_ns

    def from_client(self, data: bytes) -> None:
        """The client has sent `data`."""
        self.received += len(data)
        self._connection.transport.write(data)
        self.stay()

    def from_upstream(self, data: bytes) -> None:
        """The upstream has sent `data`."""
        self.sent += len(data)
        self._client.transport.write(data)
        self.stay()
