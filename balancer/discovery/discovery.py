"""Discovery (L4): all names of an instance, each looked up in its own rhythm, told by the fleet's doors."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Generic, Protocol

from balancer.config.upstream_spec import DnsSpec
from balancer.discovery.dns import DnsSource, MembersDoor
from balancer.discovery.lookup import Resolver
from balancer.discovery.names import AddressDoor, NamedT, NamedT_contra, NameSource
from balancer.discovery.source import TIMEOUT, Source


class Doors(AddressDoor[NamedT_contra], MembersDoor, Protocol[NamedT_contra]):
    """Where discovery tells what it found; an error of theirs ends it."""


class Discovery(Generic[NamedT]):
    """Watches names from `run` on; what is to be watched is told before."""

    def __init__(
        self, doors: Doors[NamedT], resolver: Resolver, log: logging.Logger, timeout: float = TIMEOUT
    ) -> None:
        self._doors = doors
        self._resolver = resolver
        self._log = log
        self._timeout = timeout
        self._sources: list[Source] = []

    def watch_names(self, upstreams: Iterable[NamedT]) -> None:
        """Keep the addresses of these upstreams current: each name is looked up once for all that have it."""
        by_name: dict[str, list[NamedT]] = {}
        for upstream in upstreams:
            by_name.setdefault(upstream.host, []).append(upstream)
        self._sources += [
            NameSource(name, group, self._doors, self._resolver, self._log, self._timeout)
            for name, group in by_name.items()
        ]

    def watch_dns(self, pool: str, spec: DnsSpec) -> None:
        """Keep the members of this entry of a pool current."""
        self._sources.append(DnsSource(pool, spec, self._doors, self._resolver, self._log, self._timeout))

    async def run(self) -> None:
        """Look up until cancelled, then let go of the resolver. Ends at once if there is nothing to watch."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(source.run(), name=f"look up {source.label}")
        finally:
            self._resolver.close()

    async def asked(self) -> None:
        """Wait until every name has its first answer, or has had `timeout` seconds for it. `run` must run."""
        for source in self._sources:
            await source.asked.wait()
