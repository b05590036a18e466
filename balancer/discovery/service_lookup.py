"""Lookups of SRV records and of the addresses of their targets (L5), by dnspython. They block.

The targets' addresses come from the same nameserver: most send them along (RFC 2782, additional data).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balancer.config.address import split_host_port
from balancer.discovery.lookup import is_usable

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name
    from dns.resolver import Resolver

LIFETIME = 2.0  # seconds for one question to all nameservers together
ONE_TRY = 0.7  # seconds until the next nameserver is asked


@dataclass(frozen=True, slots=True)
class Record:
    """One SRV record, with the distinct addresses of its target: none if these could not be found out."""

    priority: int
    weight: int
    port: int
    target: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Services:
    """The result of a lookup: `records`, none if the service is decidedly not available (RFC 2782: the target
    is `.`), or a `problem` in a few words."""

    records: tuple[Record, ...] = ()
    problem: str = ""


ServiceLookup = Callable[[str, str], Services]


def look_up(name: str, nameserver: str) -> Services:
    """The SRV records of `name`; `nameserver` is an IP address and a port, "" for those of the system."""
    try:
        return Services(_records(_resolver(nameserver), name))
    except Exception as error:  # dnspython's, and whatever a hostile answer provokes
        return Services(problem=_why_not(error))


def _resolver(nameserver: str) -> "Resolver":
    from dns.resolver import Resolver  # here: 6 MiB that others need not have

    if nameserver:
        resolver = Resolver(configure=False)
        host, port = split_host_port(nameserver)
        resolver.nameservers = [host]
        resolver.port = port or resolver.port
    else:
        resolver = Resolver()  # reads /etc/resolv.conf, which may have changed
    resolver.timeout = min(resolver.timeout, ONE_TRY)
    return resolver


def _records(resolver: "Resolver", name: str) -> tuple[Record, ...]:
    answer = resolver.resolve(name, "SRV", lifetime=LIFETIME, search=True)
    available = [one for one in answer if one.port and len(one.target.labels) > 1]  # the root has one, ""
    addresses: dict[Name, tuple[str, ...]] = {}
    asks = True
    for target in dict.fromkeys(one.target for one in available):
        found = _sent_along(answer.response, target)
        if not found and asks:
            found, asks = _asked_for(resolver, target)
        addresses[target] = found
    return tuple(
        Record(one.priority, one.weight, one.port, one.target.to_text(True), addresses[one.target])
        for one in available
    )


def _sent_along(response: "Message", target: "Name") -> tuple[str, ...]:
    return _usable(
        one.address
        for rrset in response.additional
        if rrset.name == target
        for one in rrset
        if one.rdtype.name == "A"
    )


def _asked_for(resolver: "Resolver", target: "Name") -> tuple[tuple[str, ...], bool]:
    """Its addresses, IPv6 ones only if it has no others; and whether to ask for further targets."""
    from dns.exception import Timeout
    from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers

    for kind in ("A", "AAAA"):
        try:
            return _usable(one.address for one in resolver.resolve(target, kind, lifetime=LIFETIME)), True
        except NoAnswer:
            continue
        except (NXDOMAIN, NoNameservers):
            break
        except Timeout:
            return (), False
    return (), True


def _usable(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(is_usable, dict.fromkeys(addresses)))


def _why_not(error: Exception) -> str:
    from dns.exception import Timeout
    from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers

    if isinstance(error, NXDOMAIN):
        return "the name does not exist"
    if isinstance(error, NoAnswer):
        return "it has no SRV record"
    if isinstance(error, Timeout):
        return f"no answer within {LIFETIME:g} s"
    if isinstance(error, NoNameservers):
        return "the nameserver answers with an error"
    return " ".join(str(error).split()) or type(error).__name__
