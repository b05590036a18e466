"""Names of upstreams (L4): `app1:8000` is one upstream, known by its name, whose address may change."""

import logging
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from balancer.discovery.lookup import Resolver
from balancer.discovery.source import TIMEOUT, Source

REFRESH = 5.0


class Named(Protocol):
    """An upstream whose `host` is a name; `address` is the IP address it has now, "" while unknown."""

    @property
    def host(self) -> str: ...
    @property
    def address(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)
NamedT_contra = TypeVar("NamedT_contra", bound=Named, contravariant=True)


class AddressDoor(Protocol[NamedT_contra]):
    """Where a new address is told."""

    def set_address(self, upstream: NamedT_contra, address: str, /) -> None:
        """The upstream's name has a new address."""


class NameSource(Source, Generic[NamedT]):
    """Keeps the address of the upstreams behind one name current.

    Of several addresses the present one is kept, so that a resolver that rotates its answers does not move
    the upstreams about.
    """

    def __init__(
        self,
        name: str,
        upstreams: Sequence[NamedT],
        door: AddressDoor[NamedT],
        resolver: Resolver,
        log: logging.Logger,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(name, REFRESH, resolver, log, timeout)
        self.label = f"the name {name}"
        self._upstreams = upstreams
        self._door = door

    def found(self, addresses: tuple[str, ...]) -> None:
        """Move those upstreams whose address is no longer among them."""
        for upstream in self._upstreams:
            if upstream.address not in addresses:
                self._door.set_address(upstream, addresses[0])

    def problem(self, why: str) -> None:
        """An upstream without an address tells of itself."""

    def what_is_kept(self) -> str:
        """The last good address, if there was one."""
        known = self._upstreams[0].address
        return f"keeping {known}" if known else "it gets no requests until it resolves"
