"""A tunnel that the balancer closes, because its worker drains: as its server would, with a Close frame.

docs/decisions/0110-tunnels-in-a-drain.md. The client answers with a Close frame of its own, which reaches the
app as anything it sends; so both ends see an orderly close. Only the app's data after our frame is dropped:
clients ignore what follows a Close.
"""

import select

from balancer.http.websocket_frames import SERVICE_RESTART
from balancer.proxy.tunnel import Tunnel


class LeavingTunnel(Tunnel):
    """What `tunnel` becomes. It ends at its owner's deadline, which moves only while the client still takes
    what was written."""

    __slots__ = ("_said",)

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel._owner, tunnel._attempt, tunnel._side, tunnel.timeouts, tunnel._context)
        self._frames = tunnel._frames
        self.client_ended = tunnel.client_ended
        self.upstream_ended = tunnel.upstream_ended
        self.leaves = True
        self._said = False  # the client has been told

    def leave(self) -> int:
        """Tell the client, or let it have the rest of a frame first. Returns how many bytes it was sent."""
        if self.upstream_ended:
            return 0  # the client has had a FIN already, and is only waited for
        if self._frames.between:
            return self._tell(b"")
        if self._frames.lost:  # it is no WebSocket: all that can be said is a FIN
            self._said = True
            if not self._client.end_writing():
                self.end()
        return 0

    def _tell(self, rest: bytes) -> int:
        self._said = True
        self._client.more(rest + SERVICE_RESTART, False, b"")
        return len(rest) + len(SERVICE_RESTART)

    def stay(self) -> None:
        """It does not."""

    def silent(self) -> None:
        self.end()

    def from_client(self, data: bytes) -> None:
        self._attempt.connection.more(data, False, b"")

    def from_upstream(self, data: bytes) -> int:
        if self._said:
            return 0
        end = self._frames.first_end(data)
        if end >= 0:
            return self._tell(data[:end])
        self._client.more(data, False, b"")
        self._frames.passed(data)
        return len(data)

    def upstream_half_closed(self) -> None:
        if self._frames.lost and self._said:
            self.upstream_ended = True  # the client has had a FIN already
            if self.client_ended:
                self.end()
        else:
            super().upstream_half_closed()

    def has_lost_client(self, events: int) -> bool:
        return bool(events & select.POLLERR)  # it may have been sent a FIN

    def side_vanished(self, events: int) -> None:
        if events & select.POLLERR and not self._over:  # after two FINs POLLHUP is no reset
            self.end()
