"""The connections of the admin listener (L6): how many there may be, and how long each may take.

They share the supervisor's file descriptors with whatever starts workers, so strangers must not use them up.
A new connection is always accepted: `/readyz` has to get in. Where there are too many, the one that is missed
least is closed. aiohttp serves them; here they are accepted by hand, and watched from outside.
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

HEAD_TIMEOUT = 10.0  # seconds from the first byte of a request to the last of its head; as much for the first
IDLE_TIMEOUT = 75.0  # seconds without a request; Prometheus scrapes once a minute
STALL_TIMEOUT = 10.0  # seconds in which nothing of a response is taken
ANSWER_TIMEOUT = 60.0  # seconds in which all of it has to be taken
SWEEP = 1.0  # seconds
ACCEPTED_AT_ONCE = 8
# Turns of the event loop until others are accepted. From accepting to the handler it takes aiohttp seven; who
# has asked already must not be closed for those that come meanwhile.
SETTLING = 8
PAUSE = 0.1  # seconds without accepting, where no descriptor could be had
_TOLD_EVERY = 60.0  # seconds
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds

log = logging.getLogger(__name__)


class Phase(IntEnum):
    """What a connection is at; the later, the more is missed where it is closed."""

    IDLE = 0  # no byte of a request is here
    HEAD = 1  # a request has begun
    ANSWERED = 2  # there is a response, which the peer has not taken yet
    SERVED = 3  # a request is being answered, its body read


class Peer(asyncio.BufferedProtocol):
    """One connection: aiohttp's protocol for it, and what it is at since when."""

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
        """What it is at now."""
        if self._phase is Phase.ANSWERED and not self.transport.get_write_buffer_size():
            return Phase.IDLE
        return self._phase

    def enter(self, phase: Phase) -> None:
        """It is at something else from now on."""
        self._phase = phase
        self.since_ns = self.stalled_ns = self._connections.now_ns()
        self._unsent = 0

    def is_overdue(self) -> bool:
        """Whether it has had its time; to be asked regularly, as that shows whether it takes its response."""
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
                return False  # every handler has an end of its own

    def end(self) -> None:
        """Close it at once."""
        if self.phase() is Phase.ANSWERED:
            # With a reset: else the kernel would keep its part of the response for a peer that never reads.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def answered(self) -> None:
        """There is a response to its request."""
        self.used = True
        self.enter(Phase.ANSWERED)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, and make room for it where there is none."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._reading = Reading(self.transport, self._connections.turns)
        self._server.connection_made(cast(asyncio.Transport, Facade(self.transport, self._reading)))
        self._connections.opened(self, self._server)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what comes next goes."""
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
        """The peer takes its response slowly."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """It has taken some."""
        self._server.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its descriptor is free."""
        self._connections.closed(self._server)
        self._server.connection_lost(exc)


class Connections:
    """Accepts at most `most` connections on `sock`, in the running event loop, and ends each in time."""

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
        self._settling = 0  # turns that are left
        self._spare = -1  # a descriptor that is given up where none can be had, so that one can
        self._seldom = Seldom(clock, _TOLD_EVERY)

    def start(self) -> None:
        """Accept from now on."""
        self._sock.setblocking(False)
        self._keep_spare()
        self._loop.add_reader(self._sock, self._accept)
        self._timer = self._loop.call_later(SWEEP, self._sweep)

    def stop(self) -> None:
        """Accept nobody any more, and close the socket; who is connected stays so."""
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
        """How many there are."""
        return len(self._peers)

    def now_ns(self) -> int:
        """By the monotonic clock."""
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
        """There is one more."""
        self._peers[server] = peer
        for _ in range(len(self._open_ones()) - self._most):
            self._make_room()

    def closed(self, server: asyncio.Protocol) -> None:
        """There is one less."""
        self._peers.pop(server, None)
        # Not before the descriptor is free, which it is once this callback has returned.
        self._loop.call_soon(self._freed)

    def end_overdue(self) -> None:
        """Close those that have had their time."""
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
            except ConnectionAbortedError:  # it left while it waited
                continue
            except OSError:
                self._without_descriptors()
                return
            sock.setblocking(False)
            # Opened by a task each: one that fails must not keep the others out.
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
        except OSError:  # it is gone already
            sock.close()

    def _without_descriptors(self) -> None:
        """Others have used up what there is: some of ours go for those that wait, or the spare one does."""
        if not self._peers and self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
            return  # the socket is still readable: the next one that is accepted gets that descriptor
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
    """Whom to close: the one that has been without a whole request for longest; where none is without one,
    the one whose answer has taken longest. The `newest` that have never asked are spared: they may be about
    to, while those that had answers ask again and again."""
    order = sorted(peers, key=lambda peer: (max(peer.phase(), Phase.HEAD), peer.since_ns))
    strangers = [peer for peer in order if not peer.used and peer.phase() <= Phase.HEAD]
    spared = strangers[max(0, len(strangers) - newest) :]
    return next((peer for peer in order if peer not in spared), order[0] if order else None)
