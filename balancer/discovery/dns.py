"""Upstreams by DNS (L5): `dns://app:8000` means one upstream at each address of the name."""

import logging
from ipaddress import ip_address

from balancer.clock import Clock
from balancer.config.address import join_host_port
from balancer.discovery.entry import MembersSink
from balancer.discovery.lookup import Resolver
from balancer.discovery.member import Member
from balancer.discovery.source import TIMEOUT, LookedUp
from balancer.spec.instance import NameSpec


class DnsSource(LookedUp):
    """One `dns://` entry of a pool: reports the members after every lookup that found any, changed or not.

    So a sink that left a member out, because another source had it, can add it later. A name without
    addresses changes nothing: a nameserver problem is more likely than the loss of all replicas.
    """

    def __init__(
        self,
        pool: str,
        spec: NameSpec,
        sink: MembersSink,
        resolver: Resolver,
        log: logging.Logger,
        clock: Clock,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(spec.id, spec.host, spec.refresh, resolver, log, clock, timeout)
        self._pool = pool
        self._spec = spec
        self._sink = sink
        self._members: tuple[Member, ...] = ()
        self._addresses: frozenset[str] = frozenset()

    def found(self, addresses: tuple[str, ...]) -> None:
        """Report the members at these addresses, in numerical order of the addresses."""
        if self._addresses != set(addresses):
            self._addresses = frozenset(addresses)
            in_order = sorted(self._addresses, key=lambda address: int(ip_address(address)))
            self._members = tuple(self._member(address) for address in in_order)
        self._sink.set_members(self._pool, self._spec.id, self._members)

    def problem(self, why: str) -> None:
        """Report it to the sink, which shows it next to the members."""
        self._sink.set_problem(self._pool, self._spec.id, why, "does not resolve", "resolves now")

    def what_is_kept(self) -> str:
        """How many members there are, if any."""
        count = len(self._members)
        if not count:
            return "it has no upstream until it resolves"
        return f"keeping its {count} upstream{'s' * (count != 1)}"

    def _member(self, address: str) -> Member:
        spec = self._spec
        name = join_host_port(address, spec.port)
        return Member(name, address, spec.port, spec.weight, address, spec.backup, spec.server_name)
