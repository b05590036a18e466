"""State changes with their cause (L2), kept by the supervisor and shown by `/api/events`.

Each event has a revision, one higher than the previous, so that a reader that remembers the last one it saw
can tell whether it has missed any.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Final

KEPT: Final = 10_000  # events; more than twice the maximum number of upstreams: a few MB

_revision: Final = attrgetter("revision")


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state. `kind` is `ejected`, `probation`, `readmitted`, `ejection_skipped`, `draining`,
    `active`, `added`, `removed`, `address`, `unresolved`, `resolved`, `backup`, `backup_over`, `panic`,
    `panic_over`, `overload`, `overload_over`, `loop`, `split`, `read_only`, `audit`,
    `certificate`, `certificate_refused` or `certificate_expiry`.
    """

    revision: int
    time: float  # seconds since the epoch
    kind: str
    pool: str  # "" if it concerns a route or a certificate
    upstream: str | None  # None if it concerns the whole pool
    cause: str | None
    text: str  # one sentence for people
    by: str | None = None  # who asked for it, if it is an operator's change (`audit`)


class EventLog:
    """The last events, oldest first. For one event loop only."""

    def __init__(self, kept: int = KEPT) -> None:
        self._events: deque[Event] = deque(maxlen=kept)
        self._next = asyncio.Event()  # set by the next append, which replaces it by a new one
        self._closed = False

    @property
    def last(self) -> int:
        """The revision of the newest event, 0 if there is none."""
        return self._events[-1].revision if self._events else 0

    def append(self, event: Event) -> None:
        """Keep the event and wake all waiting readers. Revisions never decrease; events that share one are
        appended in the same turn of the event loop, so that no reader sees only some of them."""
        if event.revision < self.last:
            raise ValueError(f"event {event.revision} comes after event {self.last}")
        self._events.append(event)
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """From now on no reader waits."""
        self._closed = True
        self._next.set()

    def newest(self, most: int) -> list[Event]:
        """The last events, newest first."""
        return list(islice(reversed(self._events), most))

    def after(self, revision: int) -> list[Event]:
        """The kept events after `revision`, oldest first."""
        events = list(self._events)
        return events[bisect_right(events, revision, key=_revision) :]

    async def wait(self, revision: int, seconds: float) -> list[Event]:
        """As `after`, at once if there are any; else when one is appended, or none after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                # An event may not be after `revision`, if that is ahead of us.
                while not self.after(revision) and not self._closed:
                    await self._next.wait()
        return self.after(revision)  # also events appended just as the time ran out
