"""What `balancer top` knows of each instance (L7): the last two answers, asked for in a thread of its own, so
that an instance that hangs stops nothing."""

import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from balancer.clock import Clock
from balancer.console.client import AdminClient
from balancer.console.top_rates import Look
from balancer.errors import OperatorError

PATH = "/api/pools"
PATIENCE = 3.0  # seconds
EVENTS_KEPT = 500  # of the upstream that is looked into

Answer: TypeAlias = Mapping[str, Any]


class Source:
    """One instance. `ask` runs in its thread; the rest may be read by any, as each attribute is replaced as a
    whole."""

    def __init__(self, client: AdminClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.place = str(client.place)
        self.look: Look | None = None  # None until it has answered
        self.trouble = ""  # why it does not answer now
        self.answered = 0.0  # when it last did, in seconds since the epoch
        self.of_interest: tuple[str, str] | None = None  # pool and upstream whose events are wanted
        self.events: tuple[Answer, ...] = ()  # theirs, oldest first
        self._at_ns = 0
        self._events_of: tuple[str, str] | None = None
        self._last = 0  # the revision of the newest event seen

    def ask(self) -> None:
        """Look at the instance again."""
        try:
            now = self._client.get(PATH, "pools", PATIENCE)
            at_ns = self._clock.monotonic_ns()
            before = self.look
            if before is None or self.trouble:  # it may be another instance, and rates over a gap say little
                self.look = Look(self.place, now)
            else:
                self.look = Look(self.place, now, before.now, (at_ns - self._at_ns) / 1e9)
            self._at_ns, self.answered, self.trouble = at_ns, self._clock.wall(), ""
            self._ask_for_events()
        except OperatorError as error:
            self.trouble = str(error)

    def _ask_for_events(self) -> None:
        wanted = self.of_interest
        if wanted != self._events_of:
            self._events_of, self.events, self._last = wanted, (), 0
        if wanted is None:
            return
        answer = self._client.get(f"/api/events?after={self._last}", "events", PATIENCE)
        if answer["last"] < self._last:  # another instance: ask again from its first event on
            self._last = 0
            return
        self._last = answer["last"]
        pool, upstream = wanted
        new = [
            one
            for one in answer["events"]
            if (one["pool"], one["upstream"]) in ((pool, upstream), (pool, None))
        ]
        self.events = tuple(deque((*self.events, *new), maxlen=EVENTS_KEPT))

    def since(self) -> str:
        """When it last answered, as time of day in UTC."""
        return datetime.fromtimestamp(self.answered, UTC).strftime("%H:%M:%S")


class Polling:
    """Asks each source every `interval` seconds, or at once after `hurry`."""

    def __init__(self, sources: list[Source], interval: float) -> None:
        self.sources = sources
        self._interval = interval
        self._wake = [threading.Event() for _ in sources]

    def start(self) -> None:
        """Begin; the threads end with the process."""
        for source, wake in zip(self.sources, self._wake, strict=True):
            threading.Thread(target=self._poll, args=(source, wake), daemon=True).start()

    def hurry(self) -> None:
        """Something else is of interest."""
        for wake in self._wake:
            wake.set()

    def _poll(self, source: Source, wake: threading.Event) -> None:
        while True:
            wake.wait(self._interval)
            wake.clear()
            source.ask()
