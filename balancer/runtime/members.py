"""Adds and removes upstreams while the instance runs (L7), for discovery and the admin API."""

import logging
from collections.abc import Callable, Collection, Sequence

from balancer.admin.view import REGISTERED
from balancer.config.address import needs_no_look_up
from balancer.discovery.member import Member
from balancer.errors import StartupError
from balancer.runtime.pool_updates import PoolUpdates
from balancer.runtime.states import API, FleetWatcher, PoolState, UpstreamState
from balancer.spec.instance import UpstreamSpec
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger

_ADDED_BY = {API: "operator request", REGISTERED: "it has registered itself"}


class Members:
    """Adds upstreams to pools, each with a row in the stats segment, and removes them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        updates: PoolUpdates,
        log: logging.Logger,
        watchers: Sequence[FleetWatcher],
        begin: Callable[[UpstreamState, str], None],
        event: Callable[[str, UpstreamState, str | None, str], None],
    ) -> None:
        """`begin` is called first with a new upstream; `event` makes an event."""
        self._ledger = ledger
        self._updates = updates
        self._log = log
        self._watchers = watchers
        self._begin = begin
        self._event = event
        self._left_out: set[tuple[str, str]] = set()  # pool and source with too many upstreams; logged once

    def replace(self, pool: PoolState, source: str, members: Sequence[Member]) -> bool:
        """Set the members of `source`; whether anything has changed."""
        wanted = {member.id: member for member in members}
        changed = False
        for upstream in [one for one in pool.upstreams.values() if one.source == source]:
            member = wanted.get(upstream.id)
            if member is None:
                self.remove(pool, upstream, f"{source} no longer lists it")
                changed = True
            elif member.server_name != upstream.server_name:
                self.remove(pool, upstream, f"{source} lists it with TLS otherwise")
                changed = True
            else:
                changed = self._amend(upstream, member) or changed
        new = [member for member in wanted.values() if member.id not in pool.upstreams]
        for member in new:
            if not self.add(pool, source, member):
                break
        else:
            self._left_out.discard((pool.name, source))
        return changed or bool(new)

    def settle(
        self, pool: PoolState, specs: Sequence[UpstreamSpec], gone: Collection[str] = (), heir: str = ""
    ) -> None:
        """Make these the upstreams that the settings name. Those of discovery stay, but for those of the
        sources in `gone`; those that the operator has added stay. What keeps its id keeps its state, and a
        weight that the operator has set.

        Where there is a source that is new, `heir`, it decides about those that would leave, when it has
        found its own: what it finds too keeps its state, and the pool does not stand empty meanwhile.
        """
        wanted = {spec.id for spec in specs}
        for upstream in list(pool.upstreams.values()):
            if upstream.id in wanted or (upstream.source and upstream.source not in gone):
                continue
            if heir:
                upstream.source = heir
            else:
                self.remove(pool, upstream, f"the settings no longer name {upstream.source or 'it'}")
        for spec in specs:
            address = spec.host if needs_no_look_up(spec.host) else ""
            member = Member(
                spec.id, spec.host, spec.port, spec.weight, address, spec.backup, spec.server_name
            )
            present = pool.upstreams.get(spec.id)
            if present is not None and present.server_name != spec.server_name:
                self.remove(pool, present, "the settings name it with another protocol, or name")
                present = None
            if present is not None:
                present.source = ""
                present.expires_ns = 0
                self._amend(present, member)
            else:
                self.add(pool, "", member)

    def _amend(self, upstream: UpstreamState, member: Member) -> bool:
        """Take over what its source says of an upstream that is there already; whether that is anything new.
        The operator's own weight stays."""
        said = []
        why = f"found by {upstream.source}" if upstream.source else "named so by the settings"
        if upstream.settings_weight != member.weight:
            said.append(f"weight changed from {upstream.settings_weight} to {member.weight}")
            if upstream.weight == upstream.settings_weight:
                upstream.weight = member.weight
            else:
                said[-1] += f", while an operator has set {upstream.weight}"
            upstream.settings_weight = member.weight
        if upstream.backup != member.backup:
            upstream.backup = member.backup
            said.append("is a backup now" if member.backup else "is no backup any more")
        if said:
            text = " and ".join(said)
            self._log.info("upstream %s of pool %s %s: %s", upstream.id, upstream.pool, text, why)
            self._event("weight", upstream, None, f"{upstream.id} {text}: {why}")
        return bool(said)

    def add(self, pool: PoolState, source: str, member: Member) -> bool:
        """Add one upstream; False if no row is left."""
        try:
            row = self._ledger.row(Kind.UPSTREAM, pool.name, member.id)
        except StartupError as error:
            if (pool.name, source) not in self._left_out:
                self._left_out.add((pool.name, source))
                self._log.error("%s: not all of its upstreams can be used: %s", source, error)
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
            server_name=member.server_name,
            max_inflight=pool.max_inflight,
        )
        self._begin(upstream, "it is new")
        pool.upstreams[upstream.id] = upstream
        found = f"found by {source}" if source else "named by the settings"
        why = _ADDED_BY.get(source) or found
        self._log.info("upstream %s of pool %s added: %s", upstream.id, pool.name, why)
        self._event("added", upstream, None, f"{upstream.id} added: {why}")
        for watcher in self._watchers:
            watcher.added(upstream)
        return True

    def remove(self, pool: PoolState, upstream: UpstreamState, why: str) -> None:
        """Remove an upstream: no new requests; its running ones go on to their end."""
        # Workers release only rows that they know of.
        self._updates.tell_of(pool, upstream)
        del pool.upstreams[upstream.id]
        self._ledger.retire(Kind.UPSTREAM, pool.name, upstream.id)
        self._log.info("upstream %s of pool %s removed: %s", upstream.id, pool.name, why)
        self._event("removed", upstream, None, f"{upstream.id} removed: {why}")
        for watcher in self._watchers:
            watcher.removed(upstream)
