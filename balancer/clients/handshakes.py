"""The connections to a TLS listener that are not clients yet: in which order they may begin their handshakes,
and how long all of that may take.

A handshake costs as much as ten requests. So only so many begin in each turn of the loop, that clients who
are being served wait little; the others wait in their order. A handshake that has begun mostly waits for its
client, and needs memory while it does: that bounds how many there may be at once. Where others wait, one that
takes longer than a second makes place for them, so that clients which never end theirs cost the others
nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from balancer.clients.arrival import REFUSED, SILENT, WAITING, Arrival, ArrivalOwner
from balancer.clients.context import DRAIN_GRACE_NS, ClientContext
from balancer.clients.ending import SLOW_NS
from balancer.clients.entrance import Entrance
from balancer.clients.proofs import Proofs
from balancer.clients.tls_contexts import TlsContexts
from balancer.lateness import look_first
from balancer.spec.tls import ChallengeSpec, TlsSpec
from balancer.telemetry.columns import HANDSHAKE_RESULTS, LISTENER_TLS_HANDSHAKES

# At once: 22 MiB, as one of them takes 44 KiB. A worker can begin 2,500 in a second, so clients whose round
# trips take 0.2 s fill these places only when there is no time for more.
MOST_HANDSHAKES: Final = 512
_A_TURN: Final = 8  # begin in one turn of the loop: 3 ms, as one of them takes 0.4 ms (ECDSA P-256)
_ENDED_A_TURN: Final = 64
_REFUSED_NS: Final = 1_000_000_000  # for a client that reads why its handshake has failed, and closes

_COLUMN: Final[dict[str, int]] = {
    result: LISTENER_TLS_HANDSHAKES + number for number, result in enumerate(HANDSHAKE_RESULTS)
}


class Handshakes(ArrivalOwner):
    """All of one worker. When the handshake of a connection is over it is a client of `context`, which counts
    it from the start."""

    __slots__ = ("_all", "_armed", "_contexts", "_draining", "_looking", "_most", "_refused", "_running",
                 "_waiting")  # fmt: skip

    def __init__(
        self, context: ClientContext, entrance: Entrance, spec: TlsSpec, most: int = MOST_HANDSHAKES
    ) -> None:
        """At most `most` handshakes run at once. Raises ssl.SSLError for certificates that cannot be used."""
        self.context = context
        self.entrance = entrance
        self.port = spec.public_port
        self.proofs = None
        self._contexts = TlsContexts(spec)
        self._most = most
        self._all: dict[Arrival, None] = {}  # in the order of their accepts, and so of their deadlines
        self._waiting: deque[Arrival] = deque()  # those that are not WAITING any more are passed over
        self._running: dict[Arrival, None] = {}  # in the order of their beginnings
        self._refused: dict[Arrival, None] = {}  # in the order of their ends, and so of their deadlines
        self._armed = False
        self._looking = False
        self._draining = False

    def update(self, spec: TlsSpec) -> None:
        """Use other certificates. Raises ssl.SSLError; the old ones stay then."""
        self._contexts.update(spec)

    def show(self, challenges: Sequence[ChallengeSpec]) -> None:
        """Show these certificates to authorities that look for them, and no others."""
        self.proofs = Proofs(challenges) if challenges else None

    def protocol(self) -> asyncio.Protocol:
        """For a newly accepted connection."""
        # A protocol by its methods, which is all that an event loop needs.
        return Arrival(self)  # type: ignore[return-value]

    # --- the arrivals' calls (ArrivalOwner)

    def arrived(self, arrival: Arrival, now_ns: int) -> bool:
        context = self.context
        context.arrivals.add(arrival)
        if context.admit(arrival, now_ns) is not None:
            context.departed(arrival)
            self._count("dropped")
            return False
        self._all[arrival] = None
        return True

    def queue(self, arrival: Arrival) -> None:
        self._waiting.append(arrival)
        self._arm()

    def settled(self, arrival: Arrival, result: str) -> None:
        del self._all[arrival]
        self._running.pop(arrival, None)
        if self._waiting:
            self._arm()
        self._count(result)
        if arrival.state == REFUSED:
            arrival.deadline_ns = self.context.monotonic_ns() + _REFUSED_NS
            self._refused[arrival] = None

    def gone(self, arrival: Arrival) -> None:
        del self._refused[arrival]

    # --- turns

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self.context.loop.call_soon(self._begin_next)

    def _begin_next(self) -> None:
        self._armed = False
        waiting = self._waiting
        now = self.context.monotonic_ns()
        begun = 0
        while waiting and begun < _A_TURN:
            arrival = waiting[0]
            if arrival.state == WAITING:
                if len(self._running) >= self._most and not self._make_place(now):
                    return
                self._running[arrival] = None
                arrival.begin(self._contexts.front, now)
                begun += 1
            waiting.popleft()
        if waiting:
            self._arm()

    def _make_place(self, now: int) -> bool:
        """End the oldest handshake, if it is slow: others wait, and those that never end must not keep them
        from it."""
        oldest = next(iter(self._running))
        if now - oldest.begun_ns < SLOW_NS:
            return False
        oldest.end("dropped")
        return True

    # --- the data plane's calls

    def sweep(self, given_ns: int) -> None:
        """End what is overdue. `given_ns`: the worker was late by that, and no arrival is to pay for it."""
        if given_ns:
            for arrival in (*self._all, *self._refused):
                arrival.deadline_ns += given_ns
                arrival.begun_ns += given_ns
        if self._waiting:
            self._arm()
        if self._looking:
            return
        now = self.context.monotonic_ns()
        overdue: list[Arrival] = []
        for arrival in self._all:
            if arrival.deadline_ns < now:
                overdue.append(arrival)
            elif not self._draining:  # the others have come later
                break
        for arrival in self._refused:
            if arrival.deadline_ns >= now:
                break
            overdue.append(arrival)
        if overdue:
            self._looking = True
            look_first(self.context.loop, self._end_overdue, overdue, now)

    def _end_overdue(self, overdue: list[Arrival], now: int) -> None:
        """All that they had sent by `now` has been read. End some, and the others in the next turns."""
        for arrival in overdue[-_ENDED_A_TURN:]:
            if arrival.deadline_ns < now:
                arrival.end("timeout")
        del overdue[-_ENDED_A_TURN:]
        self._looking = bool(overdue)
        if overdue:
            self.context.loop.call_soon(self._end_overdue, overdue, now)

    def drain(self) -> None:
        """No more will come. Those that have sent nothing get a moment, the others all their time."""
        self._draining = True
        latest = self.context.monotonic_ns() + DRAIN_GRACE_NS
        for arrival in self._all:
            if arrival.state == SILENT:
                arrival.deadline_ns = min(arrival.deadline_ns, latest)

    def abort(self) -> None:
        """End all of them now."""
        for arrival in (*self._all, *self._refused):
            arrival.end("dropped")

    def _count(self, result: str) -> None:
        self.entrance.counts.cells[_COLUMN[result]] += 1
