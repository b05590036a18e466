"""Discovery (L5): watches all names and entries of an instance, and reports what it finds to the fleet."""

import asyncio
import logging
from collections.abc import Callable
from itertools import chain
from typing import Generic, Protocol

from balancer.clock import Clock
from balancer.discovery import own_sources, service_lookup
from balancer.discovery.base import MemberSource
from balancer.discovery.dns import DnsSource
from balancer.discovery.entry import Aside, MembersSink
from balancer.discovery.lookup import Resolver
from balancer.discovery.members_file import MembersFile
from balancer.discovery.names import AddressSink, NamedT, NamedT_contra, NameSource
from balancer.discovery.own import OwnSource
from balancer.discovery.service import ServiceSource
from balancer.discovery.service_lookup import ServiceLookup
from balancer.discovery.source import TIMEOUT, Source
from balancer.spec.instance import FindingSpec, MembersFileSpec, NameSpec, OwnSourceSpec, ServiceSpec
from balancer.telemetry.samples import DiscoverySample


class MembershipSink(AddressSink[NamedT_contra], MembersSink, Protocol[NamedT_contra]):
    """Where discovery reports what it found; an exception raised by a sink ends discovery."""


class Discovery(Generic[NamedT]):
    """Looks up what is watched while `run` is running; watch and forget before it, and during it.

    What is forgotten reports nothing any more, but its last reports stay: the caller removes its upstreams.
    """

    def __init__(
        self,
        sink: MembershipSink[NamedT],
        resolver: Resolver,
        log: logging.Logger,
        clock: Clock,
        aside: Aside,
        timeout: float = TIMEOUT,
        services: ServiceLookup = service_lookup.look_up,
        build_own: Callable[[str], MemberSource] = own_sources.build,
    ) -> None:
        self._sink = sink
        self._resolver = resolver
        self._log = log
        self._clock = clock
        self._aside = aside
        self._services = services
        self._build_own = build_own
        self._timeout = timeout
        self._names: dict[str, NameSource[NamedT]] = {}
        self._entries: dict[tuple[str, str], Source] = {}  # by pool and id
        self._group: asyncio.TaskGroup | None = None  # while it runs
        self._tasks: dict[Source, asyncio.Task[None]] = {}

    def watch(self, upstream: NamedT) -> None:
        """Keep the address of this upstream current; its `host` is a name. Upstreams with the same name share
        one lookup. If that has an answer, the address is reported at once."""
        source = self._names.get(upstream.host)
        if source is None:
            source = self._names[upstream.host] = NameSource(
                upstream.host, self._sink, self._resolver, self._log, self._clock, self._timeout
            )
            self._start(source)
        source.add(upstream)

    def forget(self, upstream: NamedT) -> None:
        """Watch this upstream no longer, if it is watched. With the last one of a name its lookups end."""
        source = self._names.get(upstream.host)
        if source is not None and source.remove(upstream):
            self._stop(self._names.pop(upstream.host))

    def watch_entry(self, pool: str, spec: FindingSpec) -> None:
        """Keep the members of this entry of a pool current, by this spec from now on if one with its id is
        watched already."""
        before = self._entries.get((pool, spec.id))
        self.forget_entry(pool, spec.id)
        source = self._entries[pool, spec.id] = self._source(pool, spec)
        if before is not None:
            source.freshness = before.freshness
        self._start(source)

    def forget_entry(self, pool: str, entry_id: str) -> None:
        """Watch this entry of a pool no longer, if it is watched."""
        source = self._entries.pop((pool, entry_id), None)
        if source is not None:
            self._stop(source)

    def unanswered(self, upstream: NamedT, why: str, other: str = "") -> None:
        """Nothing answers at its address. If its name has other addresses it is moved to one of them: to
        `other`, if that is known to answer."""
        source = self._names.get(upstream.host)
        if source is not None:
            source.unanswered(upstream, why, other)

    async def run(self) -> None:
        """Look up until cancelled, then close the resolver."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for source in self._sources():
                    self._start(source)
                await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            self._group = None
            self._resolver.close()

    async def asked(self) -> None:
        """Wait until everything that is watched now has an answer, has had `timeout` seconds for it, or is
        forgotten. `run` must be running."""
        for source in self._sources():
            await source.asked.wait()

    def samples(self) -> list[DiscoverySample]:
        """What the metrics show: a sample for each entry of a pool, and for each pool of a name."""
        names = [
            source.freshness.sample(pool, name)
            for name, source in self._names.items()
            for pool in sorted(source.pools)
        ]
        return names + [source.freshness.sample(*key) for key, source in self._entries.items()]

    def _source(self, pool: str, spec: FindingSpec) -> Source:
        sink, log, clock, timeout = self._sink, self._log, self._clock, self._timeout
        match spec:
            case NameSpec():
                return DnsSource(pool, spec, sink, self._resolver, log, clock, timeout)
            case ServiceSpec():
                return ServiceSource(pool, spec, sink, log, clock, self._services, self._aside, timeout)
            case MembersFileSpec():
                return MembersFile(pool, spec, sink, log, clock, self._aside, timeout)
            case OwnSourceSpec():
                return OwnSource(pool, spec, sink, log, clock, self._build_own, self._aside, timeout)

    def _sources(self) -> list[Source]:
        return list(chain(self._names.values(), self._entries.values()))

    def _start(self, source: Source) -> None:
        if self._group is not None:
            self._tasks[source] = self._group.create_task(source.run(), name=f"watch {source.label}")

    def _stop(self, source: Source) -> None:
        source.asked.set()  # nobody waits for it any more
        task = self._tasks.pop(source, None)
        if task is not None:
            task.cancel()
