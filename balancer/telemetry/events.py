"""State changes with their cause (L2): what `/api/events` shows, kept by the supervisor.

Each event is a revision, one more than the one before, so that a reader that knows the last one it saw can
tell whether it has missed any.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

KEPT = 10_000  # more than twice the upstreams that there can be: a few MB

_revision = attrgetter("revision")


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state. `kind` is `ejected`, `probation`, `readmitted`, `ejection_skipped`, `draining`,
    `active`, `added`, `removed`, `address`, `unresolved`, `resolved`, `backup`, `backup_over`, `panic`,
    `panic_over`, `overload`, `overload_over` or `loop`.
    """

    revision: int
    time: float  # seconds since the epoch
    kind: str
    pool: str
    upstream: str | None  # None where it concerns the whole pool
    cause: str | None
    text: str  # one sentence for people


class EventLog:
    """The last events, oldest first. For one event loop only."""

    def __init__(self, kept: int = KEPT) -> None:
        self._events: deque[Event] = deque(maxlen=kept)
        self._next = asyncio.Event()  # set by the next append, which puts a new one in its place
        self._closed = False

    @property
    def last(self) -> int:
        """The revision of the newest event, 0 while there is none."""
        return self._events[-1].revision if self._events else 0

    def append(self, event: Event) -> None:
        """Keep it, and wake whoever waits. Revisions never go back; those that share one are appended in
        the same turn of the event loop, so that no reader comes between them."""
        if event.revision < self.last:
            raise ValueError(f"event {event.revision} comes after event {self.last}")
        self._events.append(event)
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """Nobody waits any more, from now on."""
        self._closed = True
        self._next.set()

    def after(self, revision: int) -> list[Event]:
        """The kept events later than `revision`, oldest first."""
        events = list(self._events)
        return events[bisect_right(events, revision, key=_revision) :]

    async def wait(self, revision: int, seconds: float) -> list[Event]:
        """As `after`, at once where there are any; else when one comes, or none after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                # An event may be no later than `revision`, where that is ahead of us.
                while not self.after(revision) and not self._closed:
                    await self._next.wait()
        return self.after(revision)  # also what came in the instant in which the time was over
