"""A fleet whose surroundings are controlled by the test."""

import logging
from collections.abc import Callable
from typing import Any

from balancer.config.ourselves import Ourselves
from balancer.discovery.member import Member
from balancer.messages import MemberState, PoolUpdate
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import PoolState, UpstreamState
from balancer.spec.part import replaced
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

CHECK, OUTLIER = Cause.ACTIVE_CHECK, Cause.OUTLIER
DNS = "dns://app:8000"


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def added(self, upstream: UpstreamState) -> None:
        self.seen.append(("added", upstream.id))

    def moved(self, upstream: UpstreamState) -> None:
        self.seen.append(("moved", upstream.id))

    def wanted(self, upstream: UpstreamState) -> None:
        self.seen.append(("wanted", upstream.id))

    def removed(self, upstream: UpstreamState) -> None:
        self.seen.append(("removed", upstream.id))


class Harness:
    """A fleet with one pool of app1 and app2 at 10.0.0.1 and 10.0.0.2."""

    def __init__(self, segment: Segment, panic: bool = True, own: Ourselves | None = None) -> None:
        self.ledger = Ledger(segment)
        self.events = EventLog()
        self.watcher = Watcher()
        self.sent: list[PoolUpdate] = []
        self.clock = FakeClock()
        self.delays: list[float] = []  # of due callbacks
        self._due: list[Callable[[], None]] = []
        pool = PoolState(pool_spec(panic=panic), self.ledger.row(Kind.POOL, "default"), is_checked=True)
        for number in (1, 2):
            name = f"app{number}"
            row = self.ledger.row(Kind.UPSTREAM, "default", f"{name}:8000")
            pool.upstreams[f"{name}:8000"] = UpstreamState(
                "default", f"{name}:8000", name, 8000, 1, row, f"10.0.0.{number}"
            )
        self.fleet = Fleet(
            [pool],
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            log=logging.getLogger("balancer.test.fleet"),
            call_later=self._call_later,
            broadcast=self.sent.append,
            own=own,
        )
        self.fleet.watchers.append(self.watcher)

    def _call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.delays.append(delay)
        self._due.append(callback)

    def set(self, **changes: Any) -> None:
        """Change the pool's settings; see `replaced`."""
        self.pool.spec = replaced(self.pool.spec, **changes)

    @property
    def pool(self) -> PoolState:
        return self.fleet.pools["default"]

    def upstream(self, number: int) -> UpstreamState:
        return self.pool.upstreams[f"app{number}:8000"]

    def told(self) -> tuple[MemberState, ...] | None:
        """Run what is due; returns the messages to workers about the pool's upstreams, if any."""
        self.sent.clear()
        self.delays.clear()
        due, self._due[:] = list(self._due), []
        for each in due:
            each()
        assert len(self.sent) <= 1
        return self.sent[0].members if self.sent else None

    def kinds(self) -> list[tuple[str, str | None, str | None]]:
        return [(event.kind, event.upstream, event.cause) for event in self.events.after(0)]


def member(number: int, weight: int = 1) -> Member:
    address = f"10.1.0.{number}"
    return Member(f"{address}:8000", address, 8000, weight, address)
