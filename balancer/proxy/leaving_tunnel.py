"""A tunnel that the balancer closes, because its worker drains: as its server would, with a Close frame.

docs/decisions/0110-tunnels-in-a-drain.md. The client answers with a Close frame of its own, which reaches the
app as anything it sends; so both ends see an orderly close. Only the app's data after our frame is dropped:
clients ignore what follows a Close.
"""

import select

from balancer.http.websocket_frames import SERVICE_RESTART
from balancer.proxy.tunnel import Tunnel


class LeavingTunnel(Tunnel):
    """What `tunnel` becomes. At `until_ns` it ends in any case."""

    __slots__ = ("_said",)

    def __init__(self, tunnel: Tunnel, until_ns: int) -> None:
        super().__init__(tunnel._owner, tunnel._attempt, tunnel._side, tunnel.timeouts, tunnel._context)
        self._frames = tunnel._frames
        self._idle_ns = tunnel._idle_ns
        self.client_ended = tunnel.client_ended
        self.upstream_ended = tunnel.upstream_ended
        self.until_ns = until_ns
        self._said = False  # the client has been told

    def leave(self) -> None:
        """Tell the client, or let it have the rest of a frame first."""
        if self.upstream_ended:
            return  # the client has had a FIN already, and is only waited for
        if self._frames.between:
            self._tell(b"")
        elif self._frames.lost:  # it is no WebSocket: all that can be said is a FIN
            self._said = True
            if not self._client.end_writing():
                self.end()

    def _tell(self, rest: bytes) -> None:
        self._said = True
        self._client.more(rest + SERVICE_RESTART, False, b"")

    def from_upstream(self, data: bytes) -> None:
        if self._said:
            return
        end = self._frames.first_end(data)
        if end < 0:
            super().from_upstream(data)
        else:
            self._tell(data[:end])

    def upstream_half_closed(self) -> None:
        if self._frames.lost and self._said:
            self.upstream_ended = True  # the client has had a FIN already
            if self.client_ended:
                self.end()
        else:
            super().upstream_half_closed()

    def has_lost_client(self, events: int) -> bool:
        return bool(events & select.POLLERR)  # it may have been sent a FIN
