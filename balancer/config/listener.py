"""The settings of a listener (L1): where clients connect, and what holds for what they send."""

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

    request_head: Duration = Field(default=10.0, description="For a client to send a complete request head.")
    client_idle: Duration = Field(
        default=75.0,
        description="A client connection's wait for its next request; longer than a load balancer in front "
        "keeps idle connections.",
    )


class ListenerLimits(Group):
    """How many clients may come, and how large their heads may be."""

    max_connections: Count = Field(
        default=20000,
        ge=1,
        le=10_000_000,
        description="Open client connections, shared out among the workers. For more, those that have been "
        "idle for longest are closed; where none is, they are refused with 503.",
    )
    connections_per_client: Count = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Open connections from one client address (IPv6: /64) to each worker; more are refused "
        "with 429. Not for TRUSTED_PROXIES. 0 = no limit.",
    )
    header_bytes: Size = Field(
        default=64 * 1024, ge=256, description="Size of a head; more is 431, in a response 502."
    )
    header_count: Count = Field(
        default=200, ge=1, description="Header lines in a head; more is 431, in a response 502."
    )
    uri_bytes: Size = Field(
        default=8 * 1024,
        ge=64,
        validate_default=True,
        description="Length of a request target; more is 414. Less than HEADER_BYTES.",
    )

    @field_validator("uri_bytes")
    @classmethod
    def _target_fits_the_head(cls, uri_bytes: int, info: ValidationInfo) -> int:
        header_bytes = info.data.get("header_bytes")
        if header_bytes is not None and uri_bytes >= header_bytes:
            raise ValueError(
                f"is not below LIMITS__HEADER_BYTES ({format_size(header_bytes)}): a longer target would be "
                "a head too large, never a 414; lower it, or raise LIMITS__HEADER_BYTES"
            )
        return uri_bytes


class ListenerSettings(Group):
    """Where clients connect, and whom of them is believed what."""

    listen: ListenAddress = Field(
        default=Address("0.0.0.0", 8080),
        description="Where clients connect: `host:port`; port 0 takes any free one.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], CommaList] = Field(
        default=(),
        description="Networks (CIDR) of the proxies in front. What they say of the client in "
        "`X-Forwarded-*`, `Forwarded` and the like is believed; of all others it is dropped.",
    )
    request_trailers: Switch = Field(
        default=False,
        description="`on`: trailer fields of request bodies go on, but those that belong in a head. Only "
        "where all apps read trailers: another would take them for its next request. `off`: checked, and "
        "dropped.",
    )
    forwarded: ForwardedSettings = ForwardedSettings()
