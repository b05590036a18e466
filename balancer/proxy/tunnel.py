"""After an upgrade: bytes are relayed both ways, with back-pressure, until both sides have ended."""

import select

from balancer.connections.roles import UpstreamSide
from balancer.http.response_head import ResponseHead
from balancer.http.websocket_frames import FrameEnds
from balancer.proxy.attempt import Attempt
from balancer.proxy.context import ProxyContext
from balancer.proxy.roles import AttemptOwner, ClientSide
from balancer.proxy.side import Side
from balancer.spec.worker import RouteTimeouts
from balancer.telemetry.columns import POOL_TUNNELS


class Tunnel:
    """What an exchange, its owner, becomes after 101. Silence in both directions for `tunnel_idle` ends it.

    A side that ends its own direction may still wait for the other's last data: its FIN is passed on after
    what it has sent, and the other direction goes on until its own end. A plain close looks the same, so the
    other direction then has the timeout `idle` between bytes, and the sweep polls the side that has ended.
    `leaves`: it is being closed (`LeavingTunnel`).
    """

    __slots__ = ("_attempt", "_client", "_context", "_frames", "_idle_ns", "_over", "_owner",
                 "_side", "client_ended", "leaves", "timeouts", "upstream_ended")  # fmt: skip

    def __init__(
        self,
        owner: AttemptOwner,
        attempt: Attempt,
        side: Side,
        timeouts: RouteTimeouts,
        context: ProxyContext,
    ) -> None:
        self._owner = owner
        self._attempt = attempt
        self._client = owner.client
        self._side = side
        self._context = context
        self.timeouts = timeouts
        self._frames = FrameEnds()  # of the upstream
        self._idle_ns = timeouts.tunnel_idle_ns
        self._over = False
        self.leaves = False
        self.client_ended = False
        self.upstream_ended = False

    def begin(self, head: ResponseHead, data: bytes) -> None:
        """Pass on the 101, and `data`, what the upstream sent after it."""
        self._side.pool.cells[POOL_TUNNELS] += 1
        self._attempt.connection.switch()
        self.stay()
        self._client.switch(head)
        if data:
            self.from_upstream(data)

    def stay(self) -> None:
        """There was activity: restart the idle timeout."""
        self._owner.deadline_ns = self._context.monotonic_ns() + self._idle_ns

    def from_client(self, data: bytes) -> None:
        """The client has sent `data`."""
        self._attempt.connection.more(data, False, b"")
        self._owner.deadline_ns = self._context.monotonic_ns() + self._idle_ns

    def from_upstream(self, data: bytes) -> int:
        """The upstream has sent `data`. Returns how many bytes have gone to the client."""
        self._client.more(data, False, b"")
        frames = self._frames
        size = len(data)
        # Mostly it is one whole frame, after which nothing has changed: spare the call.
        if not frames.between or (
            size < 2 or data[1] + 2 != size
            if size < 128
            else data[1] != 126 or (data[2] << 8) + data[3] + 4 != size
        ):
            frames.passed(data)
        self._owner.deadline_ns = self._context.monotonic_ns() + self._idle_ns
        return size

    def client_half_closed(self) -> None:
        """The client has sent its FIN."""
        self.client_ended = True
        self._pass_on_end(self._attempt.connection)

    def upstream_half_closed(self) -> None:
        """The upstream has sent its FIN."""
        self.upstream_ended = True
        self._pass_on_end(self._client)

    def _pass_on_end(self, to: ClientSide | UpstreamSide) -> None:
        """Send a FIN after all that was written; the other direction goes on."""
        if (self.client_ended and self.upstream_ended) or not to.end_writing():
            self.end()
            return
        self._idle_ns = self.timeouts.idle_ns
        self.stay()

    def has_lost_client(self, events: int) -> bool:
        """Whether poll `events` of a client that is not being read show it gone. Two FINs set POLLHUP too."""
        return bool(events & (select.POLLERR if self.upstream_ended else select.POLLERR | select.POLLHUP))

    @property
    def ended_fd(self) -> int:
        """The descriptor of the side that has ended: nothing reads it, so only polling shows a reset. -1 if
        neither has ended."""
        if self.client_ended:
            return self._client.fd
        return self._attempt.connection.fd if self.upstream_ended else -1

    def side_vanished(self, events: int) -> None:
        """Handle poll `events` of the side that has ended. It was not sent a FIN, so POLLHUP is a reset."""
        if events & (select.POLLERR | select.POLLHUP) and not self._over:
            self.end()

    def silent(self) -> None:
        """The idle timeout has passed: end the tunnel, unless a slow upstream is still taking data."""
        connection = self._attempt.connection
        if connection.takes() and connection.untaken():
            self.stay()
        else:
            self.end()

    def end(self) -> None:
        """End it: both sides have ended, one was reset, or both were silent for too long. What was written
        still goes out."""
        self._over = True
        self._side.pool.cells[POOL_TUNNELS] -= 1
        self._attempt.end_tunnel()
        self._owner.tunnel_over()
