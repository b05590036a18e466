"""Discovery (L5): looks up all names of an instance, each at its own interval, and reports to the fleet."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Generic, Protocol

from balancer.clock import Clock
from balancer.discovery.dns import DnsSource, MembersSink
from balancer.discovery.lookup import Resolver
from balancer.discovery.names import AddressSink, NamedT, NamedT_contra, NameSource
from balancer.discovery.source import TIMEOUT, Source
from balancer.spec.instance import NameSpec


class MembershipSink(AddressSink[NamedT_contra], MembersSink, Protocol[NamedT_contra]):
    """Where discovery reports what it found; an exception raised by a sink ends discovery."""


class Discovery(Generic[NamedT]):
    """Watches names while `run` is running; call `watch_names` and `watch_dns` before."""

    def __init__(
        self,
        sink: MembershipSink[NamedT],
        resolver: Resolver,
        log: logging.Logger,
        clock: Clock,
        timeout: float = TIMEOUT,
    ) -> None:
        self._sink = sink
        self._resolver = resolver
        self._log = log
        self._clock = clock
        self._timeout = timeout
        self._sources: list[Source] = []
        self._names: dict[NamedT, NameSource[NamedT]] = {}

    def watch_names(self, upstreams: Iterable[NamedT]) -> None:
        """Keep the addresses of these upstreams current: upstreams with the same name share one lookup."""
        by_name: dict[str, list[NamedT]] = {}
        for upstream in upstreams:
            by_name.setdefault(upstream.host, []).append(upstream)
        for name, group in by_name.items():
            source = NameSource(
                name, group, self._sink, self._resolver, self._log, self._clock, self._timeout
            )
            self._sources.append(source)
            self._names |= dict.fromkeys(group, source)

    def watch_dns(self, pool: str, spec: NameSpec) -> None:
        """Keep the members of this entry of a pool current."""
        self._sources.append(DnsSource(pool, spec, self._sink, self._resolver, self._log, self._timeout))

    def unanswered(self, upstream: NamedT, why: str, other: str = "") -> None:
        """Nothing answers at its address. If its name has other addresses it is moved to one of them: to
        `other`, if that is known to answer."""
        source = self._names.get(upstream)
        if source is not None:
            source.unanswered(upstream, why, other)

    async def run(self) -> None:
        """Look up until cancelled, then close the resolver. Ends at once if there is nothing to watch."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(source.run(), name=f"look up {source.label}")
        finally:
            self._resolver.close()

    async def asked(self) -> None:
        """Wait until every name has an answer, or has had `timeout` seconds for it. `run` must be running."""
        for source in self._sources:
            await source.asked.wait()
