"""The settings of TLS to upstreams (L1): how an upstream proves who it is, and how the balancer does."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from balancer.config.address import check_host, split_host_port
from balancer.config.group import Group, MisfitError


def _check_server_name(text: str) -> str:
    """A name or an IP address, in lower case; "" for none."""
    if not text:
        return ""
    if "*" in text:
        raise ValueError("is a pattern; write one name that the certificates have: app.internal")
    if "://" in text or "/" in text:
        raise ValueError("is a URL; write the name alone: app.internal")
    host, port = split_host_port(f"[{text}]" if text.count(":") > 1 and "[" not in text else text)
    if port is not None:
        raise ValueError(f"has a port, which certificates do not have; write {host}")
    check_host(host)
    return host.removesuffix(".")


class UpstreamTlsSettings(Group):
    """TLS to upstreams whose address begins with `https://`."""

    verify: bool = Field(
        default=True,
        description="Verify the certificates of upstreams. `false` accepts any: whoever can redirect the "
        "connection can then read and change it.",
    )
    ca: str = Field(
        default="",
        description="File with the authorities (PEM) that certificates of upstreams are verified with, or "
        "with such certificates themselves. If unset, the system's.",
    )
    server_name: Annotated[str, AfterValidator(_check_server_name)] = Field(
        default="",
        description="Name that upstreams are asked for (SNI), and that their certificates must have. If "
        "unset, the one in UPSTREAMS.",
    )
    certificate: str = Field(
        default="",
        description="File with the certificate (PEM) that the balancer proves itself with to upstreams, if "
        "they ask for one.",
    )
    key: str = Field(
        default="", description="File with the key of UPSTREAM_TLS__CERTIFICATE, if it is not in there too."
    )

    @property
    def files(self) -> list[str]:
        """The paths of all files that are read."""
        return [path for path in (self.ca, self.certificate, self.key) if path]

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.key and not self.certificate:
            raise MisfitError(
                "key", "is set without UPSTREAM_TLS__CERTIFICATE; set that to the certificate's file"
            )
        return self
