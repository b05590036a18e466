"""What runs in a worker while it serves clients (L7): the sweep, and the shutdown."""

import asyncio
import traceback
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol

from balancer.clock import Clock
from balancer.lateness import SWEEP
from balancer.messages import Access, Explained, FailureRecord, Failures, Heartbeat, Released, Traces
from balancer.runtime.acceptor import Listeners
from balancer.runtime.trimming import Trimming, give_back
from balancer.runtime.uplink import Uplink
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.columns import WORKER_LOG_DROPPED, WORKER_LOOP_LAG_NS

SWEEPS_PER_HEARTBEAT = 4
LINES_PER_MESSAGE = 256  # even with every header at its limit a message fits the channel
TRACES_PER_MESSAGE = 256
GONE_POLL = 0.02


class Served(Protocol):
    """What it needs from the data plane."""

    @property
    def connections(self) -> int:
        """Open client connections."""

    def sweep(self, late_ns: int) -> None:
        """Check deadlines and update gauges."""

    def take_released(self) -> list[int]:
        """Rows of the stats segment that are no longer written to, since the last call."""

    def take_failures(self) -> list[FailureRecord]:
        """The newest errors answered here, since the last call."""

    def take_traces(self) -> Traces | None:
        """What was traced since the last call."""

    def take_explanations(self) -> list[Explained]:
        """Messages with explanations of requests, since the last call."""

    def retire(self) -> None:
        """The next response of each connection is its last; close none before that."""

    def drain(self, within_ns: int) -> None:
        """Close idle clients, and tunnels in time; running exchanges become the last of their connections."""

    def abort_all(self) -> None:
        """Abort every client connection."""

    def close(self) -> None:
        """Update the counts, and release everything else."""


class Serving:
    """The serving phase of one worker."""

    def __init__(
        self,
        proxy: Served,
        listeners: Listeners,
        access_log: AccessLog,
        row: memoryview,
        uplink: Uplink,
        clock: Clock,
    ) -> None:
        self._proxy = proxy
        self._listeners = listeners
        self._access_log = access_log
        self._row = row
        self._uplink = uplink
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._due = clock.monotonic_ns()
        self._sweeps = 0
        self._trimming = Trimming(give_back)
        self._untold = 0  # spans that were dropped, as the channel was full
        self._gone: asyncio.Future[None] = self._loop.create_future()

    def sweep(self) -> None:
        """Do the periodic work, four times a second, and schedule the next sweep."""
        late_ns = self._row[WORKER_LOOP_LAG_NS] = max(0, self._clock.monotonic_ns() - self._due)
        try:
            self._proxy.sweep(late_ns)
        except Exception:
            self._uplink.log("error", "the sweep failed", traceback.format_exc())
        self._flush()
        if self._sweeps % SWEEPS_PER_HEARTBEAT == 0:
            self._uplink.send(Heartbeat())
        self._sweeps += 1
        self._trimming.look(self._proxy.connections, self._clock.monotonic_ns())
        self._due = self._clock.monotonic_ns() + round(SWEEP * 1e9)
        self._loop.call_later(SWEEP, self.sweep)

    async def retire(self, patience: float, hurry: asyncio.Event, ends: Collection[int]) -> None:
        """Accept no more clients, and wait until all have left, for at most `patience` seconds or until
        `hurry` is set. Then `shut_down`. `ends` as in `Retire`."""
        await self._listeners.shut(ends)
        self._proxy.retire()
        end = self._loop.time() + patience
        while self._proxy.connections and not hurry.is_set() and (left := end - self._loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, SWEEP)):
                    await hurry.wait()

    async def shut_down(self, drain: float, ends: Collection[int] = ()) -> None:
        """Accept no more clients, and wait until the last is served, for at most `drain` seconds. `ends` as
        in `Retire`."""
        await self._listeners.shut(ends)
        # So that requests of the clients accepted last are read before idle clients are closed.
        await asyncio.sleep(GONE_POLL)
        self._proxy.drain(round(drain * 1e9))
        self._watch(self._loop.time() + drain)
        await self._gone
        if self._proxy.connections:
            count = self._proxy.connections
            self._uplink.log("warning", f"{count} client connections cut: the drain time is over")
            self._proxy.abort_all()
            await asyncio.sleep(GONE_POLL)
        self._proxy.close()
        self._flush()

    def _watch(self, deadline: float) -> None:
        if not self._proxy.connections or self._loop.time() >= deadline:
            self._gone.set_result(None)
        else:
            self._loop.call_later(GONE_POLL, self._watch, deadline)

    def _flush(self) -> None:
        # The access log comes last: who has seen a line can look its request up.
        failures = self._proxy.take_failures()
        if failures:
            self._uplink.send(Failures(records=tuple(failures)))
        traces = self._proxy.take_traces()
        if traces is not None:
            self._send_traces(traces)
        for explained in self._proxy.take_explanations():
            self._uplink.send(explained)
        lines = self._access_log.take()
        for first in range(0, len(lines), LINES_PER_MESSAGE):
            part = lines[first : first + LINES_PER_MESSAGE]
            if not self._uplink.send(Access.of(part)):
                self._access_log.dropped += len(part)
        self._row[WORKER_LOG_DROPPED] = self._access_log.dropped
        # If this message is dropped, the rows stay unused until this incarnation ends.
        released = self._proxy.take_released()
        if released:
            self._uplink.send(Released(rows=tuple(released)))

    def _send_traces(self, traces: Traces) -> None:
        self._untold += traces.dropped
        for first in range(0, max(len(traces.records), 1), TRACES_PER_MESSAGE):
            part = traces.records[first : first + TRACES_PER_MESSAGE]
            if self._uplink.send(Traces(records=part, dropped=self._untold)):
                self._untold = 0
            else:
                self._untold += sum(1 + len(one.attempts) for one in part)
