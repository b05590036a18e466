"""The settings of a listener (L1): where clients connect, and the limits on what they send."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator

from balancer.config.address import Address, parse_listen
from balancer.config.forwarded import ForwardedSettings
from balancer.config.group import Group
from balancer.config.types import CommaList, Count, Duration, Size, Switch, format_size


def _parse_network(value: object) -> str:
    """A network in its canonical form; a single address is a network of one."""
    try:
        return str(ip_network(value.strip() if isinstance(value, str) else ""))
    except ValueError:
        pass
    try:
        widened = ip_network(str(value).strip(), strict=False)
    except ValueError:
        raise ValueError("is not a network; write 10.0.0.0/8, 192.168.1.7 or fd00::/8") from None
    raise ValueError(f"has bits set beyond its prefix; write {widened}")


ListenAddress = Annotated[Address, BeforeValidator(parse_listen), PlainSerializer(str, when_used="json")]
Network = Annotated[str, BeforeValidator(_parse_network)]


class ListenerTimeouts(Group):
    """Deadlines for clients."""

    request_head: Duration = Field(
        default=10.0, description="Time for a client to send a complete request head."
    )
    client_idle: Duration = Field(
        default=75.0,
        description="Time a client connection may wait for its next request; set it above the idle "
        "timeout of a load balancer in front.",
    )


class ListenerLimits(Group):
    """Limits on the number of clients, and on the size of heads."""

    max_connections: Count = Field(
        default=20000,
        ge=1,
        le=10_000_000,
        description="Open client connections, divided among the workers. At the limit, a new connection "
        "closes the one that has been idle for longest, then one that lingers, then one whose request "
        "head has been incomplete for a second; if there is none, the new one is refused with 503.",
    )
    connections_per_client: Count = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Open connections from one client address (IPv6: /64) to each worker; more are "
        "refused with 429. Does not apply to TRUSTED_PROXIES. 0 = no limit.",
    )
    header_bytes: Size = Field(
        default=64 * 1024,
        ge=256,
        description="Size of a message head; a larger request gets 431, a larger response 502.",
    )
    header_count: Count = Field(
        default=200, ge=1, description="Header lines in a head; a request with more gets 431, a response 502."
    )
    uri_bytes: Size = Field(
        default=8 * 1024,
        ge=64,
        validate_default=True,
        description="Length of a request target; a longer one gets 414. Less than HEADER_BYTES.",
    )

    @field_validator("uri_bytes")
    @classmethod
    def _target_fits_the_head(cls, uri_bytes: int, info: ValidationInfo) -> int:
        header_bytes = info.data.get("header_bytes")
        if header_bytes is not None and uri_bytes >= header_bytes:
            raise ValueError(
                f"is not below LIMITS__HEADER_BYTES ({format_size(header_bytes)}): a longer "
                "target would get 431, never 414; lower it, or raise LIMITS__HEADER_BYTES"
            )
        return uri_bytes


class ListenerSettings(Group):
    """Where clients connect, and which of them are trusted proxies."""

    listen: ListenAddress = Field(
        default=Address("0.0.0.0", 8080),
        description="Address for clients: `host:port`; port 0 takes any free port.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], CommaList] = Field(
        default=(),
        description="Networks (CIDR) of the proxies in front. Their `X-Forwarded-*`, `Forwarded` and "
        "similar fields are trusted; those of other peers are dropped.",
    )
    request_trailers: Switch = Field(
        default=False,
        description="`on`: trailer fields of request bodies are forwarded, except those that belong in a "
        "head. Only if every app reads trailers: others would take them for the next request. "
        "`off`: they are checked and dropped.",
    )
    forwarded: ForwardedSettings = ForwardedSettings()
