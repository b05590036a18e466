"""Upstreams by SRV records (L5): `srv://_http._tcp.app.example` means one upstream at each address of their
targets."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import ip_address

from balancer.clock import Clock
from balancer.config.address import join_host_port
from balancer.config.upstream_options import MAX_WEIGHT
from balancer.discovery.entry import Aside, EntrySource, MembersSink
from balancer.discovery.member import Member
from balancer.discovery.service_lookup import Record, ServiceLookup
from balancer.discovery.source import TIMEOUT
from balancer.spec.instance import ServiceSpec


class ServiceSource(EntrySource):
    """One `srv://` entry of a pool. A target whose addresses cannot be found out keeps its last ones."""

    fails = "does not resolve"
    works = "resolves now"

    def __init__(
        self,
        pool: str,
        spec: ServiceSpec,
        sink: MembersSink,
        log: logging.Logger,
        clock: Clock,
        look_up: ServiceLookup,
        aside: Aside,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(pool, spec.id, sink, log, clock, timeout)
        self._spec = spec
        self._look_up = look_up
        self._aside = aside
        self._known: dict[str, tuple[str, ...]] = {}  # addresses by target

    async def follow(self) -> None:
        """Look it up every `refresh` seconds, from start to start; at once if a lookup took longer."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self._ask()
            await asyncio.sleep(started + self._spec.refresh - loop.time())

    async def _ask(self) -> None:
        spec = self._spec
        try:
            found = await self._aside("look up", partial(self._look_up, spec.host, spec.nameserver))
        except RuntimeError as error:  # no thread can be started
            self.failed(str(error))
            return
        if found.problem:
            self.failed(found.problem)
            return
        known = {one.target: one.addresses or self._known.get(one.target, ()) for one in found.records}
        self._known = known
        lost = [target for target, addresses in known.items() if not addresses]
        members = members_of(found.records, known, spec)
        if not found.records:
            self.report(())
            self.failed("its record says that the service is not available")
        elif not lost:
            self.found(members)
        else:
            if members:
                self.report(members)
            self.failed(f"its target {lost[0]} has no address")


def members_of(
    records: Iterable[Record], addresses: Mapping[str, tuple[str, ...]], spec: ServiceSpec
) -> tuple[Member, ...]:
    """An upstream for each address of a target, in order of priorities, and then of addresses and ports.

    The lowest priority is for all requests, the others are backups. A record's weight is shared by the
    addresses of its target. A target that several records name has the best priority, and their sum there.
    """
    best: int | None = None
    shares: tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]] = ({}, {})
    for one in sorted(records, key=lambda one: one.priority):
        found = addresses[one.target]
        if not found:
            continue
        best = one.priority if best is None else best
        normal, backup = shares
        tier = normal if one.priority == best else backup
        for address in found:
            where = (address, one.port)
            if tier is normal or where not in normal:
                tier[where] = tier.get(where, 0.0) + one.weight / len(found)
    return tuple(
        Member(
            id=join_host_port(address, port),
            host=address,
            port=port,
            weight=weight,
            address=address,
            backup=spec.backup or tier is shares[1],
            server_name=spec.server_name,
        )
        for tier in shares
        for (address, port), weight in sorted(scaled(tier).items(), key=_by_number)
    )


def _by_number(item: tuple[tuple[str, int], int]) -> tuple[int, int]:
    (address, port), _ = item
    return int(ip_address(address)), port


def scaled(shares: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], int]:
    """Shares of 0 and more as weights from 1 to MAX_WEIGHT.

    Whole ones stay as they are where they fit; else the largest becomes MAX_WEIGHT. RFC 2782: 0 is a very
    small chance beside others that are not 0, and an equal one among zeros.
    """
    largest = max(shares.values(), default=0.0)
    if not largest:
        return dict.fromkeys(shares, 1)
    if largest <= MAX_WEIGHT and all(share >= 1 and share == int(share) for share in shares.values()):
        return {where: int(share) for where, share in shares.items()}
    return {where: max(1, round(share * MAX_WEIGHT / largest)) for where, share in shares.items()}
