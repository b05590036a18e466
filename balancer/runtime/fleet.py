"""The authoritative state of every pool and upstream (L7), in the supervisor.

State changes only through the methods here. Each change has a revision, an event with its cause, and a log
line; the workers get the whole pool (`pool_updates`).
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from balancer.clock import Clock
from balancer.config.ourselves import Ourselves
from balancer.discovery.member import Member
from balancer.health.settings import within_ns
from balancer.messages import PoolUpdate
from balancer.pools.slow_start import ramp
from balancer.runtime.circles import Circles
from balancer.runtime.expiries import Expiries
from balancer.runtime.members import Members
from balancer.runtime.pool_updates import PoolUpdates
from balancer.runtime.states import API, FleetWatcher, PoolState, UpstreamState
from balancer.runtime.transitions import take_transitions
from balancer.spec.instance import SupervisedPool
from balancer.spec.worker import PoolSpec
from balancer.telemetry.events import Event, EventLog
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.state import AdminState, Cause, FirstCheck, in_words
from balancer.upstreams.traffic_history import SkipReason

# The causes of admin states: the app asked for a drain, the operator set it, or the operator's setting ended.
ANNOUNCED, OPERATOR, GONE = "announced", "operator", "ejected"


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
        broadcast: Callable[[PoolUpdate], None],
        own: Ourselves | None = None,
    ) -> None:
        self.revision = 0
        self.pools = {pool.name: pool for pool in pools}
        self.watchers: list[FleetWatcher] = []
        self._events = events
        self._clock = clock
        self._log = log
        self._updates = PoolUpdates(
            lambda: self.revision, clock=clock, call_later=call_later, broadcast=broadcast
        )
        self._expiries = Expiries(self._expire, clock=clock, call_later=call_later)
        self._established = False
        self.circles = Circles(own or Ourselves(()), clock, log, self._say)
        self._members = Members(
            ledger=ledger,
            updates=self._updates,
            log=log,
            watchers=self.watchers,
            begin=self._begin_anew,
            event=self._event,
        )

    def upstreams(self) -> list[UpstreamState]:
        """Every upstream, by pool and in the order of the settings."""
        return [upstream for pool in self.pools.values() for upstream in pool.upstreams.values()]

    def established(self) -> None:
        """The instance begins to serve: upstreams added later are new among running ones."""
        self._established = True

    def effective_weight(self, upstream: UpstreamState) -> float:
        """Its weight at this moment, reduced during slow start."""
        duration_ns = self.pools[upstream.pool].spec.slow_start_ns
        return upstream.weight * ramp(upstream.ramp_since_ns, self._clock.monotonic_ns(), duration_ns)

    # --- state changes

    def eject(self, upstream: UpstreamState, cause: Cause, why: str, *, term: str = "") -> None:
        """Send it no new requests until `readmit` with the same cause. `term`: " for 10 s", if known."""
        if cause in upstream.causes:
            return
        upstream.causes |= {cause}
        if cause is Cause.OUTLIER:
            upstream.on_probation = False
        elif cause is Cause.ACTIVE_CHECK:
            upstream.first_check = FirstCheck.DONE
        self.pools[upstream.pool].ejections[cause] += 1
        self._log.warning("upstream %s of pool %s ejected%s: %s", upstream.id, upstream.pool, term, why)
        self._became(upstream, "ejected", cause, f"{upstream.id} ejected{term}: {why}")
        found = upstream.source not in ("", API)
        if found and cause is Cause.ACTIVE_CHECK and upstream.wanted is not AdminState.ACTIVE:
            # Container engines reuse the address of a removed replica for the next one at once.
            self._want(
                upstream,
                AdminState.ACTIVE,
                GONE,
                "it was ejected, and its address may pass to another replica",
            )

    def readmit(self, upstream: UpstreamState, cause: Cause, why: str) -> None:
        """This cause is over; other causes may still keep it ejected."""
        if cause not in upstream.causes:
            return
        upstream.causes -= {cause}
        if not upstream.causes:
            self._begin_ramp(upstream)
        still = f"; still ejected for {', '.join(sorted(upstream.causes))}" if upstream.causes else ""
        self._log.info("upstream %s of pool %s readmitted: %s%s", upstream.id, upstream.pool, why, still)
        self._became(upstream, "readmitted", cause, f"{upstream.id} readmitted: {why}{still}")

    def put_on_probation(self, upstream: UpstreamState, why: str) -> None:
        """Its ejection as an outlier has ended; it gets one request at a time until `end_probation`."""
        if Cause.OUTLIER not in upstream.causes:
            return
        upstream.causes -= {Cause.OUTLIER}
        upstream.on_probation = True
        self._log.info("upstream %s of pool %s on probation: %s", upstream.id, upstream.pool, why)
        self._became(upstream, "probation", Cause.OUTLIER, f"{upstream.id} on probation: {why}")

    def end_probation(self, upstream: UpstreamState, why: str) -> None:
        """Its probation is over."""
        if not upstream.on_probation:
            return
        upstream.on_probation = False
        if not upstream.causes:
            self._begin_ramp(upstream)
        self._log.info("upstream %s of pool %s readmitted: %s", upstream.id, upstream.pool, why)
        self._became(upstream, "readmitted", Cause.OUTLIER, f"{upstream.id} readmitted: {why}")

    def skip_ejection(self, upstream: UpstreamState, reason: SkipReason, why: str, *, say: bool) -> None:
        """It is not ejected as an outlier because of `reason`; logged if `say`."""
        self.pools[upstream.pool].ejections_skipped[reason] += 1
        if say:
            text = f"{upstream.id} not ejected: {why}"
            self._log.warning("pool %s: %s", upstream.pool, text)
            self._event("ejection_skipped", upstream, Cause.OUTLIER, text)

    def overloaded(self, pool: PoolState, text: str) -> None:
        """The pool is overloaded."""
        self._log.warning("pool %s %s", pool.name, text)
        self._say("overload", pool.name, None, None, text)

    def overload_over(self, pool: PoolState, text: str) -> None:
        """The pool is no longer overloaded."""
        self._log.info("pool %s %s", pool.name, text)
        self._say("overload_over", pool.name, None, None, text)

    def announce(self, upstream: UpstreamState, draining: bool, why: str) -> None:
        """The app announces that it wants no new requests (`draining`), or wants them again."""
        if upstream.announced == draining:
            return
        upstream.announced = draining
        state = upstream.admin_state
        self._log.info("upstream %s of pool %s %s: %s", upstream.id, upstream.pool, state, why)
        self._became(upstream, state, ANNOUNCED, f"{upstream.id} {state}: {why}")

    def set_admin_state(self, upstream: UpstreamState, state: AdminState) -> None:
        """The operator sets this state, whatever the app announces."""
        if upstream.wanted is not state:
            self._want(upstream, state, OPERATOR, "operator request")

    def set_weight(self, upstream: UpstreamState, weight: int) -> None:
        """The operator sets another weight."""
        if upstream.weight == weight:
            return
        before, upstream.weight = upstream.weight, weight
        text = f"weight changed from {before} to {weight}: operator request"
        self._log.info("upstream %s of pool %s %s", upstream.id, upstream.pool, text)
        self._event("weight", upstream, OPERATOR, f"{upstream.id} {text}")
        self._changed(self.pools[upstream.pool])

    def add(self, pool_name: str, member: Member, source: str = API) -> bool:
        """The operator adds this upstream, or it registers itself; False if no row is left for it."""
        pool = self.pools[pool_name]
        if not self._members.add(pool, source, member):
            return False
        self._changed(pool)
        return True

    def limit(self, upstream: UpstreamState, seconds: float) -> None:
        """Remove it in `seconds`, unless this is said again before."""
        self._expiries.set(upstream, seconds)

    def remove(self, upstream: UpstreamState, why: str = "operator request") -> None:
        """Remove an upstream that was added; its running requests go on to their end."""
        pool = self.pools[upstream.pool]
        self._expiries.forget(upstream)
        self._members.remove(pool, upstream, why)
        self._changed(pool)

    def _expire(self, upstream: UpstreamState) -> None:
        if self.pools[upstream.pool].upstreams.get(upstream.id) is upstream:
            self.remove(upstream, "its registration has expired")

    def _want(self, upstream: UpstreamState, state: AdminState, cause: str, why: str) -> None:
        before, upstream.wanted = upstream.wanted, state
        if before is AdminState.MAINTENANCE:
            self._begin_anew(upstream, "it returns from maintenance")
        now = upstream.admin_state
        said = in_words(now)
        still = "; its check announces draining" if now is not state else ""
        self._log.info("upstream %s of pool %s %s: %s%s", upstream.id, upstream.pool, said, why, still)
        self._became(upstream, now, cause, f"{upstream.id} {said}: {why}{still}")
        for watcher in self.watchers:
            watcher.wanted(upstream)

    def passed_first(self, upstream: UpstreamState, what: str) -> None:
        """A check has passed for the first time, with `what`. If checks failed before, `readmit` follows.

        An upstream present at the instance's start serves already, so workers need no update for it.
        """
        pool = self.pools[upstream.pool]
        before, upstream.first_check = upstream.first_check, FirstCheck.DONE
        was_starting = pool.is_starting
        pool.has_passed = True
        if before is FirstCheck.REQUIRED:
            if not upstream.causes:
                self._begin_ramp(upstream)
            text = f"passed its first check: {what}"
            self._log.info("upstream %s of pool %s %s", upstream.id, upstream.pool, text)
            self._event("checked", upstream, Cause.ACTIVE_CHECK, f"{upstream.id} {text}")
            self._changed(pool)
        elif was_starting:
            self._updates.changed(pool)

    def set_silent(self, upstream: UpstreamState, since_ns: int) -> None:
        """It has answered nothing since `since_ns`, while others have, so requests should not wait for it; 0
        if that is over."""
        if upstream.silent_since_ns == since_ns:
            return
        upstream.silent_since_ns = since_ns
        if since_ns:
            seconds = (self._clock.monotonic_ns() - since_ns) / 1e9
            text = (
                f"has answered no request for {seconds:.1f} s: requests waiting there go elsewhere, or fail"
            )
            self._log.warning("upstream %s of pool %s %s", upstream.id, upstream.pool, text)
            self._event("silent", upstream, Cause.ACTIVE_CHECK, f"{upstream.id} {text}")
        self._changed(self.pools[upstream.pool])

    def may_use(self, upstream: UpstreamState, address: str) -> bool:
        """Whether requests may be sent to this address: not if it is our own."""
        return not self.circles.why_not(address, upstream.port)

    def set_address(self, upstream: UpstreamState, address: str, why: str = "") -> None:
        """Its name has this address now; `why`: what is wrong with the old one, if known."""
        if upstream.address == address:
            return
        if self.circles.hold(upstream, address, say=self._established):
            self._set_no_address(upstream)
            return
        before, upstream.address = upstream.address, address
        upstream.silent_since_ns = 0  # it was about another machine
        moved = f" (before: {before}{why and f', {why}'})" if before else ""
        level = logging.WARNING if why else logging.INFO if before else logging.DEBUG
        self._log.log(level, "upstream %s of pool %s is at %s%s", upstream.id, upstream.pool, address, moved)
        self._event("address", upstream, None, f"{upstream.id} is at {address}{moved}")
        self._begin_anew(upstream, "its address changed")
        self.announce(upstream, False, "its address changed")
        for watcher in self.watchers:
            watcher.moved(upstream)
        self._changed(self.pools[upstream.pool])

    def _set_no_address(self, upstream: UpstreamState) -> None:
        if upstream.address:
            upstream.address = ""
            for watcher in self.watchers:
                watcher.moved(upstream)
            self._changed(self.pools[upstream.pool])

    def set_other_addresses(self, upstream: UpstreamState, others: tuple[str, ...]) -> None:
        """Its name has these addresses too: workers try them if its own address does not answer."""
        if upstream.other_addresses != others:
            upstream.other_addresses = others
            self._updates.changed(self.pools[upstream.pool])

    def set_members(self, pool_name: str, source: str, members: Sequence[Member]) -> None:
        """Set what a discovery source has found. Upstreams of others stay, and take precedence over it at the
        same address."""
        pool = self.pools[pool_name]
        others = self.circles.without(pool_name, source, list(members))
        if self._members.replace(pool, source, others):
            self._changed(pool)

    def set_problem(
        self,
        pool_name: str,
        source: str,
        why: str,
        fails: str = "does not resolve",
        works: str = "resolves now",
    ) -> None:
        """A discovery source finds nothing, for this reason; "" once it does again. Discovery logs it. Events
        say that it `fails`, or `works`."""
        pool = self.pools[pool_name]
        if why:
            pool.problems[source] = why
            self._say("unresolved", pool_name, None, None, f"{source} {fails}: {why}")
        elif pool.problems.pop(source, ""):
            self._say("resolved", pool_name, None, None, f"{source} {works}")

    def note(self, kind: str, text: str) -> int:
        """Record an event that is not about one pool; returns its revision."""
        self._say(kind, "", None, None, text)
        return self.revision

    def audit(self, pool: str, upstream: str | None, by: str, text: str) -> None:
        """Record what `by` has asked for, and how it went."""
        self._log.info("audit: %s", text)
        self._say("audit", pool, upstream, OPERATOR, text, by)

    # --- a reload

    def open_pool(self, pool: PoolState) -> None:
        """The settings have this pool too: its upstreams are watched from now on."""
        self.pools[pool.name] = pool
        for upstream in pool.upstreams.values():
            for watcher in self.watchers:
                watcher.added(upstream)

    def close_pool(self, name: str) -> None:
        """The settings do not have this pool any more."""
        for upstream in self.pools.pop(name).upstreams.values():
            for watcher in self.watchers:
                watcher.removed(upstream)

    def settle(
        self, spec: PoolSpec, supervised: SupervisedPool, gone: Collection[str] = (), heir: str = ""
    ) -> None:
        """The settings of a pool are these now. `gone` and `heir` as in `Members.settle`."""
        pool = self.pools[spec.name]
        pool.spec = spec
        pool.max_inflight = supervised.max_inflight
        was_checked, pool.is_checked = pool.is_checked, supervised.check is not None
        pool.checked_within_ns = within_ns(supervised.check)
        pool.has_passed |= not was_checked  # it serves already
        self._members.settle(pool, supervised.upstreams, gone, heir)
        for upstream in pool.upstreams.values():
            upstream.max_inflight = supervised.max_inflight
            if was_checked and not pool.is_checked:
                upstream.first_check = FirstCheck.DONE
                self.readmit(upstream, Cause.ACTIVE_CHECK, "it is not checked any more")
                self.announce(upstream, False, "it is not checked any more")
                self.set_silent(upstream, 0)
        self._changed(pool)

    # --- consequences of a change

    def _begin_anew(self, upstream: UpstreamState, why: str) -> None:
        """The upstream is new, or a process at its address of which nothing is known."""
        if self.pools[upstream.pool].is_checked:
            upstream.first_check = FirstCheck.REQUIRED if self._established else FirstCheck.AWAITED
            self.readmit(upstream, Cause.ACTIVE_CHECK, f"{why}, so it is checked again")
        if not upstream.causes:
            self._begin_ramp(upstream)

    def _begin_ramp(self, upstream: UpstreamState) -> None:
        """Start slow start for an upstream that joins, or rejoins, a serving pool; if it must pass a check
        first, that happens after the check."""
        required = upstream.first_check is FirstCheck.REQUIRED
        if self._established and self.pools[upstream.pool].spec.slow_start_ns and not required:
            upstream.ramp_since_ns = self._clock.monotonic_ns()

    def _became(self, upstream: UpstreamState, to: str, cause: str, text: str) -> None:
        upstream.changes[to, cause] += 1
        self._event(to, upstream, cause, text)
        self._changed(self.pools[upstream.pool])

    def _event(self, kind: str, upstream: UpstreamState, cause: str | None, text: str) -> None:
        self._say(kind, upstream.pool, upstream.id, cause, text)

    def _changed(self, pool: PoolState) -> None:
        for transition in take_transitions(pool):
            self._log.log(transition.level, "pool %s: %s", pool.name, transition.text)
            self._say(transition.kind, pool.name, None, None, transition.text)
        self._updates.changed(pool)

    def _say(
        self, kind: str, pool: str, upstream: str | None, cause: str | None, text: str, by: str | None = None
    ) -> None:
        self.revision += 1
        self._events.append(Event(self.revision, self._clock.wall(), kind, pool, upstream, cause, text, by))
