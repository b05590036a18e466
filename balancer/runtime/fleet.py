"""The authoritative state of every pool and upstream (L6), in the supervisor.

A state changes through the doors here and nowhere else. Each change has a revision, an event with its cause,
and a log line; the workers are told the whole pool, at once but no sooner than TELL_EVERY after the last.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from balancer.clock import Clock
from balancer.discovery.member import Member
from balancer.errors import StartupError
from balancer.pools.slow_start import ramp
from balancer.runtime.channel import Message
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import Event, EventLog
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.conduct import Spared
from balancer.upstreams.state import AdminState, Cause, candidates, is_eligible

# Seconds. A worker needs 6 to 16 ms to take in a pool of 1,000 upstreams, in which it serves nobody: when
# many change one after the other, it is told of them together.
TELL_EVERY = 0.05
# The causes of admin states: the app itself asked for a drain, the operator wants it, or his word has ended.
ANNOUNCED, OPERATOR, GONE = "announced", "operator", "ejected"
API = "api"  # the source of upstreams that the operator has added


@dataclass(slots=True, eq=False)
class UpstreamState:
    """One upstream: `host` as the settings have it, `address` the IP address it has now, "" while unknown.

    `source` is the discovery entry that found it, "" for one of the settings' own, API where the operator
    has added it. `changes` counts what happened to it, by what it became and why. Changed by the fleet's
    doors only.
    """

    pool: str
    id: str
    host: str
    port: int
    weight: int
    row: int
    address: str
    source: str = ""
    backup: bool = False  # used only where no other is eligible
    ramp_since_ns: int = 0  # when its slow start began, 0 where it has had none
    max_inflight: int = 0  # requests it may have from all workers together, 0 for no cap
    causes: frozenset[Cause] = frozenset()
    on_probation: bool = False  # was an outlier, its time is over, and no request to it has succeeded yet
    wanted: AdminState = AdminState.ACTIVE  # by the operator
    announced: bool = False  # its check answered DRAIN_STATUS
    unchecked: bool = False  # checks are on, and the first verdict is not in
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    settings_weight: int = 0  # as the settings, or discovery, have it

    def __post_init__(self) -> None:
        self.settings_weight = self.weight

    @property
    def admin_state(self) -> AdminState:
        """What is wanted of it, by the operator or else by the app itself."""
        if self.wanted is AdminState.ACTIVE and self.announced:
            return AdminState.DRAINING
        return self.wanted

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it drains because its app said so, and for no other reason."""
        return self.announced and self.wanted is AdminState.ACTIVE

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""
        return self.address != "" and self.weight > 0

    def is_eligible(self) -> bool:
        """Whether it may be picked without panic."""
        return self.is_reachable() and is_eligible(self.admin_state, self.causes)

    def for_workers(self) -> dict[str, Any]:
        """As the `start` and `pool` messages carry it."""
        return {
            "id": self.id,
            "host": self.address,
            "port": self.port,
            "weight": self.weight,
            "row": self.row,
            "admin_state": self.admin_state,
            "leaves_by_itself": self.leaves_by_itself,
            "causes": sorted(self.causes),
            "backup": self.backup,
            "ramp_since_ns": self.ramp_since_ns,
            "max_inflight": self.max_inflight,
            "on_probation": self.on_probation,
        }


@dataclass(slots=True, eq=False)
class PoolState:
    """One upstream pool; `settings` is what workers are told of it besides its upstreams."""

    name: str
    row: int
    settings: dict[str, Any]
    panic_allowed: bool
    is_checked: bool  # by active checks
    slow_start: float = 0.0  # seconds
    max_inflight: int = 0  # of each upstream
    upstreams: dict[str, UpstreamState] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # discovery source -> why it does not resolve
    panics: bool = False
    out: bool = False  # nobody may be used
    on_backup: bool = False  # its backup upstreams are used, as no other is eligible
    ejections: Counter[str] = field(default_factory=Counter)  # by cause
    ejections_skipped: Counter[str] = field(default_factory=Counter)  # by reason

    def eligible(self) -> int:
        """How many upstreams may be picked without panic."""
        return sum(upstream.is_eligible() for upstream in self.upstreams.values())


class FleetWatcher(Protocol):
    """Who wants to know which upstreams there are."""

    def added(self, upstream: UpstreamState) -> None:
        """There is a new one."""

    def moved(self, upstream: UpstreamState) -> None:
        """It has another address."""

    def wanted(self, upstream: UpstreamState) -> None:
        """The operator wants something else of it."""

    def removed(self, upstream: UpstreamState) -> None:
        """It is gone, and never comes back: the same address found again is a new one."""


class Fleet:
    """All pools, for one event loop. `call_later` is that loop's; `broadcast` reaches all workers."""

    def __init__(
        self,
        pools: Iterable[PoolState],
        *,
        ledger: Ledger,
        events: EventLog,
        clock: Clock,
        log: logging.Logger,
        call_later: Callable[[float, Callable[[], None]], object],
        broadcast: Callable[[Message], None],
    ) -> None:
        self.revision = 0
        self.pools = {pool.name: pool for pool in pools}
        self.watchers: list[FleetWatcher] = []
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._log = log
        self._call_later = call_later
        self._broadcast = broadcast
        self._untold: dict[str, PoolState] = {}  # pools whose change the workers have not been told
        self._told_ns = -1 << 62
        self._established = False
        self._left_out: set[tuple[str, str]] = set()  # of too many upstreams; said once

    def upstreams(self) -> list[UpstreamState]:
        """Every upstream, by pool and in the order of the settings."""
        return [upstream for pool in self.pools.values() for upstream in pool.upstreams.values()]

    def established(self) -> None:
        """The instance serves from now on: who comes later is new among those that run."""
        self._established = True

    def effective_weight(self, upstream: UpstreamState) -> float:
        """Its share of the load against the others', at this moment."""
        duration_ns = round(self.pools[upstream.pool].slow_start * 1e9)
        return upstream.weight * ramp(upstream.ramp_since_ns, self._clock.monotonic_ns(), duration_ns)

    def snapshot(self) -> list[dict[str, Any]]:
        """The pools as the `start` message carries them."""
        return [
            {
                "name": pool.name,
                "row": pool.row,
                **pool.settings,
                "upstreams": [upstream.for_workers() for upstream in pool.upstreams.values()],
            }
            for pool in self.pools.values()
        ]

    # The doors

    def eject(self, upstream: UpstreamState, cause: Cause, why: str) -> None:
        """No new requests for it, until `readmit` with the same cause."""
        if cause in upstream.causes:
            return
        upstream.causes |= {cause}
        if cause is Cause.OUTLIER:
            upstream.on_probation = False
        self.pools[upstream.pool].ejections[cause] += 1
        self._log.warning("upstream %s of pool %s is ejected: %s", upstream.id, upstream.pool, why)
        self._became(upstream, "ejected", cause, f"{upstream.id} is ejected: {why}")
        found = upstream.source not in ("", API)
        if found and cause is Cause.ACTIVE_CHECK and upstream.wanted is not AdminState.ACTIVE:
            # Container engines give the address of one that has gone to the next replica at once.
            self._want(upstream, AdminState.ACTIVE, GONE, "it was ejected, and may be another replica next")

    def readmit(self, upstream: UpstreamState, cause: Cause, why: str) -> None:
        """This cause is over; other causes may still keep it out."""
        if cause not in upstream.causes:
            return
        upstream.causes -= {cause}
        if not upstream.causes:
            self._begin_ramp(upstream)
        still = f"; still ejected for {', '.join(sorted(upstream.causes))}" if upstream.causes else ""
        self._log.info("upstream %s of pool %s is readmitted: %s%s", upstream.id, upstream.pool, why, still)
        self._became(upstream, "readmitted", cause, f"{upstream.id} is readmitted: {why}{still}")

    def put_on_probation(self, upstream: UpstreamState, why: str) -> None:
        """Its time as an outlier is over; it gets one request at a time until `trust`."""
        if Cause.OUTLIER not in upstream.causes:
            return
        upstream.causes -= {Cause.OUTLIER}
        upstream.on_probation = True
        self._log.info("upstream %s of pool %s is on probation: %s", upstream.id, upstream.pool, why)
        self._became(upstream, "probation", Cause.OUTLIER, f"{upstream.id} is on probation: {why}")

    def trust(self, upstream: UpstreamState, why: str) -> None:
        """Its probation is over."""
        if not upstream.on_probation:
            return
        upstream.on_probation = False
        if not upstream.causes:
            self._begin_ramp(upstream)
        self._log.info("upstream %s of pool %s is readmitted: %s", upstream.id, upstream.pool, why)
        self._became(upstream, "readmitted", Cause.OUTLIER, f"{upstream.id} is readmitted: {why}")

    def spare(self, upstream: UpstreamState, reason: Spared, why: str, *, say: bool) -> None:
        """It would be ejected as an outlier but for `reason`; people are told where `say`."""
        self.pools[upstream.pool].ejections_skipped[reason] += 1
        if say:
            text = f"{upstream.id} is not ejected: {why}"
            self._log.warning("pool %s: %s", upstream.pool, text)
            self._event("spared", upstream, Cause.OUTLIER, text)

    def announce(self, upstream: UpstreamState, draining: bool, why: str) -> None:
        """The app says that it wants no new requests, or wants them again."""
        if upstream.announced == draining:
            return
        upstream.announced = draining
        state = upstream.admin_state
        self._log.info("upstream %s of pool %s is %s: %s", upstream.id, upstream.pool, state, why)
        self._became(upstream, state, ANNOUNCED, f"{upstream.id} is {state}: {why}")

    def set_admin_state(self, upstream: UpstreamState, state: AdminState) -> None:
        """The operator wants this of it, whatever the app announces."""
        if upstream.wanted is not state:
            self._want(upstream, state, OPERATOR, "the operator wants it so")

    def set_weight(self, upstream: UpstreamState, weight: int) -> None:
        """The operator wants it to have another share of the load."""
        if upstream.weight == weight:
            return
        before, upstream.weight = upstream.weight, weight
        text = f"has the weight {weight} (before: {before}): the operator wants it so"
        self._log.info("upstream %s of pool %s %s", upstream.id, upstream.pool, text)
        self._event("weight", upstream, OPERATOR, f"{upstream.id} {text}")
        self._changed(self.pools[upstream.pool])

    def add(self, pool_name: str, member: Member) -> bool:
        """The operator wants this upstream to be there; False where it cannot be: no room is left."""
        pool = self.pools[pool_name]
        if not self._add(pool, API, member):
            return False
        self._changed(pool)
        return True

    def remove(self, upstream: UpstreamState) -> None:
        """The operator wants one that he has added to be gone; what runs there ends."""
        pool = self.pools[upstream.pool]
        self._remove(pool, upstream, "the operator wants it so")
        self._changed(pool)

    def _want(self, upstream: UpstreamState, state: AdminState, cause: str, why: str) -> None:
        before, upstream.wanted = upstream.wanted, state
        if before is AdminState.MAINTENANCE and not upstream.causes:
            self._begin_ramp(upstream)
        now = upstream.admin_state
        still = ", as its check announces" if now is not state else ""
        self._log.info("upstream %s of pool %s is %s: %s%s", upstream.id, upstream.pool, now, why, still)
        self._became(upstream, now, cause, f"{upstream.id} is {now}: {why}{still}")
        for watcher in self.watchers:
            watcher.wanted(upstream)

    def checked(self, upstream: UpstreamState) -> None:
        """Its first check is in. Until then it counts as eligible, so workers need not be told."""
        upstream.unchecked = False

    def set_address(self, upstream: UpstreamState, address: str) -> None:
        """Its name has this address now."""
        if upstream.address == address:
            return
        before, upstream.address = upstream.address, address
        if not before:
            self._begin_ramp(upstream)
        moved = f" (before: {before})" if before else ""
        level = logging.INFO if before else logging.DEBUG
        self._log.log(level, "upstream %s of pool %s is at %s%s", upstream.id, upstream.pool, address, moved)
        self._event("address", upstream, None, f"{upstream.id} is at {address}{moved}")
        for watcher in self.watchers:
            watcher.moved(upstream)
        self._changed(self.pools[upstream.pool])

    def set_members(self, pool_name: str, source: str, members: Sequence[Member]) -> None:
        """What a discovery source has found. Others' upstreams stay, and win over it at the same address."""
        pool = self.pools[pool_name]
        wanted = {member.id: member for member in members}
        gone = [u for u in pool.upstreams.values() if u.source == source and u.id not in wanted]
        new = [member for member in wanted.values() if member.id not in pool.upstreams]
        for upstream in gone:
            self._remove(pool, upstream, f"{source} does not list it any more")
        for member in new:
            if not self._add(pool, source, member):
                break
        else:
            self._left_out.discard((pool_name, source))
        if gone or new:
            self._changed(pool)

    def set_problem(self, pool_name: str, source: str, why: str) -> None:
        """A discovery source does not resolve, for this reason; "" when it does again. Discovery logs it."""
        pool = self.pools[pool_name]
        if why:
            pool.problems[source] = why
            self._say("unresolved", pool_name, None, None, f"{source} does not resolve: {why}")
        elif pool.problems.pop(source, ""):
            self._say("resolved", pool_name, None, None, f"{source} resolves now")

    def _add(self, pool: PoolState, source: str, member: Member) -> bool:
        try:
            row = self._ledger.row(Kind.UPSTREAM, pool.name, member.id)
        except StartupError as error:
            if (pool.name, source) not in self._left_out:
                self._left_out.add((pool.name, source))
                self._log.error("%s: not all of it can be used: %s", source, error)
            return False
        upstream = UpstreamState(
            pool=pool.name,
            id=member.id,
            host=member.host,
            port=member.port,
            weight=member.weight,
            row=row,
            address=member.address,
            source=source,
            backup=member.backup,
            max_inflight=pool.max_inflight,
            unchecked=pool.is_checked,
        )
        self._begin_ramp(upstream)
        pool.upstreams[upstream.id] = upstream
        why = "the operator wants it so" if source == API else f"found by {source}"
        self._log.info("upstream %s of pool %s is added: %s", upstream.id, pool.name, why)
        self._event("added", upstream, None, f"{upstream.id} is added: {why}")
        for watcher in self.watchers:
            watcher.added(upstream)
        return True

    def _remove(self, pool: PoolState, upstream: UpstreamState, why: str) -> None:
        if pool.name in self._untold:
            self._tell()  # a row that workers have never heard of they would never give back
        del pool.upstreams[upstream.id]
        self._ledger.retire(Kind.UPSTREAM, pool.name, upstream.id)
        self._log.info("upstream %s of pool %s is removed: %s", upstream.id, pool.name, why)
        self._event("removed", upstream, None, f"{upstream.id} is removed: {why}")
        for watcher in self.watchers:
            watcher.removed(upstream)

    # What follows from a change

    def _begin_ramp(self, upstream: UpstreamState) -> None:
        """It comes, or comes back, to a pool that runs."""
        if self._established and self.pools[upstream.pool].slow_start:
            upstream.ramp_since_ns = self._clock.monotonic_ns()

    def _became(self, upstream: UpstreamState, to: str, cause: str, text: str) -> None:
        upstream.changes[to, cause] += 1
        self._event(to, upstream, cause, text)
        self._changed(self.pools[upstream.pool])

    def _event(self, kind: str, upstream: UpstreamState, cause: str | None, text: str) -> None:
        self._say(kind, upstream.pool, upstream.id, cause, text)

    def _changed(self, pool: PoolState) -> None:
        chosen, panics = candidates(list(pool.upstreams.values()), pool.panic_allowed)
        on_backup = bool(chosen) and chosen[0].backup
        if on_backup != pool.on_backup:
            pool.on_backup = on_backup
            if on_backup:
                text = "no other upstream is eligible: the backup upstreams take over"
                self._log.warning("pool %s: %s", pool.name, text)
            else:
                text = "the backup upstreams stand by again"
                self._log.info("pool %s: %s", pool.name, text)
            self._say("backup" if on_backup else "backup_over", pool.name, None, None, text)
        if panics != pool.panics:
            pool.panics = panics
            if panics:
                text = "no upstream is eligible: requests go to those that are not, rather than nowhere"
                self._log.error("pool %s: %s", pool.name, text)
            else:
                text = "panic is over"
                self._log.info("pool %s: %s", pool.name, text)
            self._say("panic" if panics else "panic_over", pool.name, None, None, text)
        if bool(chosen) == pool.out:
            pool.out = not chosen
            if pool.out:
                text = "no upstream may be used: requests are answered with 503"
                self._log.error("pool %s: %s", pool.name, text)
            else:
                text = "there are upstreams again"
                self._log.info("pool %s: %s", pool.name, text)
            self._say("out" if pool.out else "out_over", pool.name, None, None, text)
        if not self._untold:
            since = (self._clock.monotonic_ns() - self._told_ns) / 1e9
            self._call_later(max(0.0, TELL_EVERY - since), self._tell)
        self._untold[pool.name] = pool

    def _say(self, kind: str, pool: str, upstream: str | None, cause: str | None, text: str) -> None:
        self.revision += 1
        self._events.append(Event(self.revision, self._clock.wall(), kind, pool, upstream, cause, text))

    def _tell(self) -> None:
        self._told_ns = self._clock.monotonic_ns()
        untold, self._untold = self._untold, {}
        for pool in untold.values():
            self._broadcast(
                {
                    "type": "pool",
                    "revision": self.revision,
                    "name": pool.name,
                    "upstreams": [upstream.for_workers() for upstream in pool.upstreams.values()],
                }
            )
