"""Adds and removes upstreams while the instance runs (L7), for discovery and the admin API."""

import logging
from collections.abc import Callable, Sequence

from balancer.discovery.member import Member
from balancer.errors import StartupError
from balancer.runtime.pool_updates import PoolUpdates
from balancer.runtime.states import API, FleetWatcher, PoolState, UpstreamState
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger


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
        gone = [u for u in pool.upstreams.values() if u.source == source and u.id not in wanted]
        new = [member for member in wanted.values() if member.id not in pool.upstreams]
        for upstream in gone:
            self.remove(pool, upstream, f"{source} no longer lists it")
        for member in new:
            if not self.add(pool, source, member):
                break
        else:
            self._left_out.discard((pool.name, source))
        return bool(gone or new)

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
        why = "operator request" if source == API else f"found by {source}"
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
