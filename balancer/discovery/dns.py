"""Upstreams by DNS (L5): `dns://app:8000` stands for an upstream at each address of the name."""

import logging
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from balancer.config.address import join_host_port
from balancer.discovery.lookup import Resolver
from balancer.discovery.member import Member
from balancer.discovery.source import TIMEOUT, Source
from balancer.spec.instance import NameSpec


class MembersSink(Protocol):
    """Where the upstreams that were found are told."""

    def set_members(self, pool: str, source: str, members: Sequence[Member], /) -> None:
        """These are all the members that `source` has; those of it that are not among them are gone."""

    def set_problem(self, pool: str, source: str, why: str, /) -> None:
        """`source` cannot be resolved, for this reason; "" when it can again."""


class DnsSource(Source):
    """One `dns://` entry of a pool: tells the members after every lookup that gave any, changed or not.

    Told each time, a sink that left one out, because another source had it, takes it in when it may. A name
    without addresses changes nothing: the nameserver's trouble is likelier than the end of all replicas.
    """

    def __init__(
        self,
        pool: str,
        spec: NameSpec,
        sink: MembersSink,
        resolver: Resolver,
        log: logging.Logger,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(spec.host, spec.refresh, resolver, log, timeout)
        self.label = spec.id
        self._pool = pool
        self._spec = spec
        self._sink = sink
        self._members: tuple[Member, ...] = ()
        self._addresses: frozenset[str] = frozenset()

    def found(self, addresses: tuple[str, ...]) -> None:
        """Tell the members at these addresses, in the order of the addresses' numbers."""
        if self._addresses != set(addresses):
            self._addresses = frozenset(addresses)
            in_order = sorted(self._addresses, key=lambda address: int(ip_address(address)))
            self._members = tuple(self._member(address) for address in in_order)
        self._sink.set_members(self._pool, self._spec.id, self._members)

    def problem(self, why: str) -> None:
        """Told where people look for the members."""
        self._sink.set_problem(self._pool, self._spec.id, why)

    def what_is_kept(self) -> str:
        """How many members there are, if any."""
        count = len(self._members)
        if not count:
            return "it has no upstream until it resolves"
        return f"keeping its {count} upstream{'s' * (count != 1)}"

    def _member(self, address: str) -> Member:
        port = self._spec.port
        return Member(
            join_host_port(address, port), address, port, self._spec.weight, address, self._spec.backup
        )
