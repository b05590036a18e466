"""Names of upstreams (L5): `app1:8000` is one upstream, identified by its name; its address may change."""

import logging
from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

from balancer.clock import Clock
from balancer.discovery.lookup import Resolver
from balancer.discovery.source import TIMEOUT, LookedUp

REFRESH = 5.0  # seconds from one lookup to the next
AGAIN = 30.0  # seconds without another try at an address that did not answer
MOST_OTHERS = 3  # further addresses that one connect tries


class Named(Protocol):
    """An upstream whose `host` is a name; `address` is the IP address it has now, "" while unknown."""

    @property
    def pool(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def address(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)
NamedT_contra = TypeVar("NamedT_contra", bound=Named, contravariant=True)


class AddressSink(Protocol[NamedT_contra]):
    """Where addresses are reported."""

    def may_use(self, upstream: NamedT_contra, address: str, /) -> bool:
        """Whether requests may be sent there: False if they would come back to this balancer."""

    def set_address(self, upstream: NamedT_contra, address: str, why: str = "", /) -> None:
        """The upstream has a new address. `why`: what is wrong with the old one, if anything."""

    def set_other_addresses(self, upstream: NamedT_contra, others: tuple[str, ...], /) -> None:
        """Its name also has these addresses, in the order in which to try them."""


class NameSource(LookedUp, Generic[NamedT]):
    """Keeps the address of the upstreams behind one name current.

    If a name has several addresses, the present one is kept, so that a resolver that rotates its answers does
    not move upstreams. If it does not answer, the next listed one is used (RFC 1123 section 2.3); an address
    that did not answer is not tried again for AGAIN seconds.
    """

    def __init__(
        self,
        name: str,
        sink: AddressSink[NamedT],
        resolver: Resolver,
        log: logging.Logger,
        clock: Clock,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(f"the name {name}", name, REFRESH, resolver, log, clock, timeout)
        self._sink = sink
        self._clock = clock
        self._found: tuple[str, ...] = ()  # in the resolver's order
        self._listed: list[str] = []  # the same in numerical order
        # The upstreams, and when an address did not answer: by upstream, as they differ in their ports.
        self._failed_ns: dict[NamedT, dict[str, int]] = {}

    def add(self, upstream: NamedT) -> None:
        """Keep the address of this upstream current too."""
        if upstream not in self._failed_ns:
            self._failed_ns[upstream] = {}
            if self._found:
                self._place(upstream)

    def remove(self, upstream: NamedT) -> bool:
        """Forget this upstream; whether it was the last one."""
        return self._failed_ns.pop(upstream, None) is not None and not self._failed_ns

    @property
    def pools(self) -> set[str]:
        """Those that have an upstream of this name."""
        return {upstream.pool for upstream in self._failed_ns}

    def found(self, addresses: tuple[str, ...]) -> None:
        """Move the upstreams whose address is no longer among `addresses`."""
        self._found = addresses
        self._listed = sorted(addresses, key=lambda address: int(ip_address(address)))
        for upstream in [*self._failed_ns]:
            self._place(upstream)

    def unanswered(self, upstream: NamedT, why: str, other: str = "") -> None:
        """Its address does not answer: move it to the next one that may, or to `other`, which does."""
        failed = self._failed_ns.get(upstream)
        if failed is None:
            return
        failed[upstream.address] = self._clock.monotonic_ns()
        if other:
            failed.pop(other, None)
        candidates = [other] if other else self._others(upstream)
        for address in candidates:
            if address in self._listed and self._may_answer(upstream, address):
                self._sink.set_address(upstream, address, f"which does not answer: {why}")
                self._tell_others(upstream)
                return

    def problem(self, why: str) -> None:
        """Not reported: the upstream itself shows that it has no address."""

    def what_is_kept(self) -> str:
        """The last good address, if there was one."""
        known = next((upstream.address for upstream in self._failed_ns), "")
        return f"keeping {known}" if known else "it gets no requests until it resolves"

    def _place(self, upstream: NamedT) -> None:
        failed, found = self._failed_ns[upstream], self._found
        for address in failed.keys() - self._listed:
            del failed[address]
        if upstream.address not in found:
            first = next((one for one in found if self._may_answer(upstream, one)), found[0])
            self._sink.set_address(upstream, first)
        self._tell_others(upstream)

    def _may_answer(self, upstream: NamedT, address: str) -> bool:
        if not self._sink.may_use(upstream, address):
            return False
        failed_ns = self._failed_ns[upstream].get(address)
        return failed_ns is None or self._clock.monotonic_ns() - failed_ns >= AGAIN * 1e9

    def _others(self, upstream: NamedT) -> list[str]:
        """All other listed addresses that may be used, starting after its own."""
        listed = self._listed
        at = listed.index(upstream.address) if upstream.address in listed else -1
        others = [*listed[at + 1 :], *listed[: max(0, at)]]
        return [one for one in others if self._sink.may_use(upstream, one)]

    def _tell_others(self, upstream: NamedT) -> None:
        self._sink.set_other_addresses(upstream, tuple(self._others(upstream)[:MOST_OTHERS]))
