"""For which names the admin listener answers (L6).

A page in a browser on this machine can reach a listener on 127.0.0.1, and if the page's own name resolves to
that address it can read the answers (DNS rebinding). It cannot choose the Host that the browser sends. So a
listener on loopback answers only for loopback names and addresses, and for those that ADMIN_HOSTS adds.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

# uri-host [ ":" port ] (RFC 9110 section 7.2), limited to what can name a machine: no user name before it.
_FIELD = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")
_LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True)
class Hosts:
    """`names` are those of ADMIN_HOSTS, in lower case; `is_loopback`: the listener is on loopback."""

    names: frozenset[str] = frozenset()
    is_loopback: bool = False

    def answers_for(self, field: str) -> bool:
        """Whether a request with this Host may be meant for this listener.

        A listener that is not on loopback accepts any Host, unless names are given; then it also accepts any
        IP address, which cannot be rebound and which probes and Prometheus use.
        """
        if not self.names and not self.is_loopback:
            return True
        host = host_of(field)
        return (
            host in self.names or is_loopback(host) or (not self.is_loopback and _address(host) is not None)
        )


def host_of(field: str) -> str:
    """The host in a Host field, in lower case and without its port; "" if there is none."""
    match = _FIELD.fullmatch(field.strip())
    if match is None:
        return ""
    host = (match[1] or match[2]).lower().removesuffix(".")
    address = _address(host)
    return host if address is None else str(address)


def is_loopback(host: str) -> bool:
    """Whether a host names this machine: localhost (RFC 6761 section 6.3) or a loopback address."""
    if host == _LOCALHOST or host.endswith(f".{_LOCALHOST}"):
        return True
    address = _address(host)
    if address is None:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
