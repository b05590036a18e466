"""Logs which peers send fields that only proxies should send, but are not trusted (L6).

Without it nothing would explain why an app that redirects http to https does so endlessly if the proxy in
front that ends TLS is not in TRUSTED_PROXIES.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from balancer.clock import Clock
from balancer.http.fields import Field
from balancer.messages import LogLine, Tell
from balancer.spec.worker import Level

# An operator's own proxies mostly have private addresses; from the internet anybody may send these fields.
_PRIVATE_NETWORKS: Final = 100
_PUBLIC_EVERY_NS: Final = 3_600_000_000_000
_NAMES: Final = 4
_NAME_LENGTH: Final = 40


class UntrustedPeers:
    """Reports each network of peers once (IPv4 /24, IPv6 /64): up to a hundred private ones, and one public
    one per hour. Reports of several workers about one network are logged once."""

    __slots__ = ("_clock", "_is_tls", "_public_ns", "_said", "_tell", "_trusts_others")

    def __init__(self, tell: Tell, clock: Clock, trusts_others: bool, is_tls: bool = False) -> None:
        """`is_tls`: they speak TLS with us."""
        self._is_tls = is_tls
        self._tell = tell
        self._clock = clock
        self._trusts_others = trusts_others
        self._said: set[str] = set()  # private networks already reported
        self._public_ns = -1 << 62  # when the next public one may be reported

    def seen(self, address: str, sent: Sequence[Field]) -> None:
        """The peer at `address` is not trusted, and has sent these fields."""
        if not address:
            return
        ip = ip_address(address)
        network = ip.exploded[:19] if isinstance(ip, IPv6Address) else address.rpartition(".")[0]
        if ip.is_global:
            now = self._clock.monotonic_ns()
            if now < self._public_ns:
                return
            self._public_ns = now + _PUBLIC_EVERY_NS
        elif network in self._said or len(self._said) >= _PRIVATE_NETWORKS:
            return
        else:
            self._said.add(network)
        level: Level = "info" if ip.is_global else "warning"
        once = f"not trusted: {network}"
        self._tell(LogLine(level=level, message=self._text(address, sent), once=once))

    def _text(self, address: str, sent: Sequence[Field]) -> str:
        names = list(
            dict.fromkeys(field.line.partition(b":")[0][:_NAME_LENGTH].decode("latin-1") for field in sent)
        )
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        remedy = (
            "add it to BALANCER_TRUSTED_PROXIES"
            if self._trusts_others
            else f"set BALANCER_TRUSTED_PROXIES={address}"
        )
        text = (
            f"{address} sends {', '.join(names[:_NAMES])}{more}, but is not in TRUSTED_PROXIES: "
            f"the app sees {address} as the client and {'https' if self._is_tls else 'http'} as its scheme. "
            f"If {address} is a proxy of yours, {remedy}"
        )
        if self._is_tls:
            return text
        return (
            f"{text}; otherwise, if that proxy terminates TLS, an app that redirects http to https redirects "
            "forever"
        )
