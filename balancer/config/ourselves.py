"""Where this balancer itself listens (L1): an upstream at that address would be an endless loop."""

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from balancer.config.address import Address, is_ip
from balancer.config.own_addresses import ipv6_takes_ipv4, own_addresses

_LOOPBACK: dict[int, IPv4Address | IPv6Address] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}


@dataclass(frozen=True, slots=True)
class OwnListener:
    """One listener of ours: its setting, and its actual address."""

    setting: str  # LISTEN, TLS__LISTEN or ADMIN_LISTEN
    address: Address


@dataclass(frozen=True, slots=True)
class Ourselves:
    """All listeners of this instance. `addresses` returns this machine's, `dual` whether `[::]` takes IPv4
    too; they are called only if a port is the same."""

    listeners: tuple[OwnListener, ...]
    addresses: Callable[[], Collection[str]] = own_addresses
    dual: Callable[[], bool] = ipv6_takes_ipv4

    def why(self, host: str, port: int) -> str:
        """Why nothing may be sent to this IP address and port: the end of a sentence that begins with them.

        "" if the address is not ours.
        """
        found = self.at(host, port)
        if found is None:
            return ""
        is_admin = found.setting == "ADMIN_LISTEN"
        what = "its own admin API listens" if is_admin else "this balancer itself listens"
        return (
            f"is where {what} ({found.setting} {found.address}): requests would loop forever; "
            f"write the app's own address, or give {found.setting} another port"
        )

    def at(self, host: str, port: int) -> OwnListener | None:
        """Which listener gets connections to this IP address and port. The only names that are recognised are
        those known without a lookup: `localhost`, and this machine's."""
        same_port = [one for one in self.listeners if one.address.port == port]
        if not same_port:
            return None
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            host = "127.0.0.1"
        if is_ip(host):
            target = _connected(host)
            return next((one for one in same_port if self._takes(_plain(one.address.host), target)), None)
        if name == socket.gethostname().lower():  # resolves to one of this machine's addresses
            return next((one for one in same_port if ip_address(one.address.host).is_unspecified), None)
        return None

    def _takes(self, listener: IPv4Address | IPv6Address, target: IPv4Address | IPv6Address) -> bool:
        if not listener.is_unspecified:
            return listener == target
        if listener.version != target.version and not (target.version == 4 and self.dual()):
            return False
        return target.is_loopback or str(target) in self.addresses()


def ourselves(listen: Address, admin_listen: Address, tls_listen: Address | None = None) -> Ourselves:
    """The listeners, from the settings or from the sockets; those with port 0 are left out: not known yet.
    `tls_listen` is None if TLS is off."""
    found = [OwnListener("LISTEN", listen), OwnListener("ADMIN_LISTEN", admin_listen)]
    if tls_listen is not None:
        found.append(OwnListener("TLS__LISTEN", tls_listen))
    return Ourselves(tuple(one for one in found if one.address.port))


def _plain(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _connected(host: str) -> IPv4Address | IPv6Address:
    """Where a connection to `host` arrives: the unspecified address is this machine."""
    address = _plain(host)
    if address.is_unspecified:
        return _LOOPBACK[address.version]
    return address
