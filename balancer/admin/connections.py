"""The connections of the admin listener (L6): limits on their number, and timeouts.

They share the supervisor's file descriptors with the starting of workers, so clients must not use them up.
A new connection is always accepted, because `/readyz` must be reachable. If there are too many, the least
needed one is closed. aiohttp serves them; this module accepts them and watches them from outside.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import cast

from aiohttp import web

from balancer.admin.answers import Handler
from balancer.admin.reading import Facade, Reading
from balancer.clock import Clock, Seldom
from balancer.connections.intake import Turns

HEAD_TIMEOUT = 10.0  # seconds for a request's head from its first byte, and before the first request
IDLE_TIMEOUT = 75.0  # seconds without a request; Prometheus scrapes once a minute
STALL_TIMEOUT = 10.0  # seconds in which the peer reads nothing of a response
ANSWER_TIMEOUT = 60.0  # seconds in which the peer must read the whole response
SWEEP = 1.0  # seconds
ACCEPTED_AT_ONCE = 8
# Turns of the event loop until more connections are accepted. aiohttp needs seven from accepting to the
# handler; a connection with a request must not be closed for others that arrive meanwhile.
SETTLING = 8
PAUSE = 0.1  # seconds without accepting after running out of descriptors
_TOLD_EVERY = 60.0  # seconds
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds

log = logging.getLogger(__name__)


class Phase(IntEnum):
    """The phase of a connection; the higher, the more is lost if it is closed."""

    IDLE = 0  # no byte of a request has arrived
    HEAD = 1  # a request has begun
    ANSWERED = 2  # a response was written that the peer has not read fully
    SERVED = 3  # a request is being handled, its body read


class Peer(asyncio.BufferedProtocol):
    """One connection: aiohttp's protocol for it, its phase, and since when it is in that phase."""

    __slots__ = (
        "_connections",
        "_phase",
        "_reading",
        "_server",
        "_unsent",
        "since_ns",
        "stalled_ns",
        "transport",
        "used",
    )

    transport: asyncio.Transport
    _reading: Reading

    def __init__(self, server: asyncio.Protocol, connections: "Connections") -> None:
        self._server = server
        self._connections = connections
        self._phase = Phase.IDLE
        self.used = False  # it has had an answer
        self._unsent = 0
        self.since_ns = self.stalled_ns = connections.now_ns()

    def phase(self) -> Phase:
        """Its present phase."""
        if self._phase is Phase.ANSWERED and not self.transport.get_write_buffer_size():
            return Phase.IDLE
        return self._phase

    def enter(self, phase: Phase) -> None:
        """Change to this phase now."""
        self._phase = phase
        self.since_ns = self.stalled_ns = self._connections.now_ns()
        self._unsent = 0

    def is_overdue(self) -> bool:
        """Whether its timeout has passed. Call it regularly: it notes whether the peer reads the response."""
        now_ns = self._connections.now_ns()
        match self.phase():
            case Phase.IDLE:
                return now_ns - self.since_ns > (IDLE_TIMEOUT if self.used else HEAD_TIMEOUT) * 1e9
            case Phase.HEAD:
                return now_ns - self.since_ns > HEAD_TIMEOUT * 1e9
            case Phase.ANSWERED:
                unsent = self.transport.get_write_buffer_size()
                if unsent < self._unsent or not self._unsent:
                    self.stalled_ns = now_ns
                self._unsent = unsent
                stalled = now_ns - self.stalled_ns > STALL_TIMEOUT * 1e9
                return stalled or now_ns - self.since_ns > ANSWER_TIMEOUT * 1e9
            case Phase.SERVED:
                return False  # every handler has its own timeout

    def end(self) -> None:
        """Close it at once."""
        if self.phase() is Phase.ANSWERED:
            # With a reset: else the kernel would keep its part of the response for a peer that does not read.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def answered(self) -> None:
        """Its request has been answered."""
        self.used = True
        self.enter(Phase.ANSWERED)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, and close another one if there are too many."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._reading = Reading(self.transport, self._connections.turns)
        self._server.connection_made(cast(asyncio.Transport, Facade(self.transport, self._reading)))
        self._connections.opened(self, self._server)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next read."""
        return self._reading.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """A request begins, or goes on."""
        if self.phase() is Phase.IDLE:
            self.enter(Phase.HEAD)
        self._server.data_received(self._reading.read(nbytes))

    def eof_received(self) -> bool | None:
        """aiohttp decides."""
        return self._server.eof_received()

    def pause_writing(self) -> None:
        """The peer reads its response slowly."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """The peer has read some of it."""
        self._server.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.closed(self._server)
        self._server.connection_lost(exc)


class Connections:
    """Accepts at most `most` connections on `sock`, in the running event loop, and applies the timeouts."""

    def __init__(
        self, sock: socket.socket, serve: Callable[[], asyncio.Protocol], clock: Clock, most: int
    ) -> None:
        """`serve` makes the protocol that serves a connection."""
        self._sock = sock
        self._serve = serve
        self._clock = clock
        self._most = most
        self._newest = max(1, most // 10)
        self._at_once = min(ACCEPTED_AT_ONCE, self._newest)
        self._peers: dict[object, Peer] = {}  # by the protocol that serves it
        self._loop = asyncio.get_running_loop()
        self.turns = Turns(self._loop, clock)
        self._tasks: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._settling = 0  # turns left until more connections are accepted
        self._spare = -1  # a reserve descriptor, closed to accept a connection when no other is left
        self._seldom = Seldom(clock, _TOLD_EVERY)

    def start(self) -> None:
        """Begin to accept."""
        self._sock.setblocking(False)
        self._keep_spare()
        self._loop.add_reader(self._sock, self._accept)
        self._timer = self._loop.call_later(SWEEP, self._sweep)

    def stop(self) -> None:
        """Stop accepting and close the socket; open connections stay."""
        for timer in (self._timer, self._paused):
            if timer is not None:
                timer.cancel()
        self._paused = None
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def __len__(self) -> int:
        """The number of connections."""
        return len(self._peers)

    def now_ns(self) -> int:
        """Now, on the monotonic clock."""
        return self._clock.monotonic_ns()

    @web.middleware
    async def watching(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The application's outermost middleware: from here on a request is being answered."""
        peer = self._peers.get(request.protocol)
        if peer is None:
            return await handler(request)
        peer.enter(Phase.SERVED)
        try:
            return await handler(request)
        finally:
            peer.answered()

    def opened(self, peer: Peer, server: asyncio.Protocol) -> None:
        """A connection was opened."""
        self._peers[server] = peer
        for _ in range(len(self._open_ones()) - self._most):
            self._make_room()

    def closed(self, server: asyncio.Protocol) -> None:
        """A connection was closed."""
        self._peers.pop(server, None)
        # Later: the descriptor is free only after this callback has returned.
        self._loop.call_soon(self._freed)

    def end_overdue(self) -> None:
        """Close the connections whose timeout has passed."""
        for peer in [peer for peer in self._peers.values() if peer.is_overdue()]:
            peer.end()

    def _sweep(self) -> None:
        self.end_overdue()
        self._keep_spare()
        self._timer = self._loop.call_later(SWEEP, self._sweep)

    def _accept(self) -> None:
        self._loop.remove_reader(self._sock)
        self._settling = SETTLING
        self._loop.call_soon(self._settle)
        for _ in range(self._at_once):
            try:
                sock = self._sock.accept()[0]
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # the client left before it was accepted
                continue
            except OSError:
                self._without_descriptors()
                return
            sock.setblocking(False)
            # One task for each, so that a failure does not affect the others.
            task = self._loop.create_task(self._open(sock), name="admin connection")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _settle(self) -> None:
        self._settling -= 1
        if self._settling:
            self._loop.call_soon(self._settle)
        elif self._paused is None and self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    async def _open(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Peer(self._serve(), self), sock)
        except OSError:  # the client has already left
            sock.close()

    def _without_descriptors(self) -> None:
        """No descriptor is left: close some connections, or the spare one, for those that wait."""
        if not self._peers and self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
            return  # the socket is still readable: the next accept gets that descriptor
        for _ in range(self._at_once):
            self._make_room()
        self._paused = self._loop.call_later(PAUSE, self._go_on)

    def _freed(self) -> None:
        self._keep_spare()
        self._go_on()

    def _go_on(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
            if not self._settling:
                self._loop.add_reader(self._sock, self._accept)

    def _keep_spare(self) -> None:
        if self._spare < 0 and self._sock.fileno() >= 0:
            try:
                self._spare = os.dup(self._sock.fileno())
            except OSError:
                return  # the next sweep tries again

    def _make_room(self) -> None:
        peer = least_missed(self._open_ones(), self._newest)
        if peer is None:
            return
        if self._seldom.may("full"):
            log.warning(
                "the admin listener is at its limit of %d connections: each new one closes the "
                "one that has been idle for longest",
                self._most,
            )
        peer.end()

    def _open_ones(self) -> list[Peer]:
        return [peer for peer in self._peers.values() if not peer.transport.is_closing()]


def least_missed(peers: Iterable[Peer], newest: int) -> Peer | None:
    """Which connection to close: the one that has been without a whole request for longest; if all have one,
    the one whose answer has taken longest. The `newest` without a request so far are spared: they may be
    about to send their first one, while others have already had answers."""
    order = sorted(peers, key=lambda peer: (max(peer.phase(), Phase.HEAD), peer.since_ns))
    strangers = [peer for peer in order if not peer.used and peer.phase() <= Phase.HEAD]
    spared = strangers[max(0, len(strangers) - newest) :]
    return next((peer for peer in order if peer not in spared), order[0] if order else None)
