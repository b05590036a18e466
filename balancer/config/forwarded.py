"""Header fields that only a trusted proxy may send (L1): some app or framework trusts each of them."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from balancer.config.group import Group
from balancer.config.readable import SET_HERE, plain
from balancer.config.types import CommaList

# Dropped unless the sender is in TRUSTED_PROXIES; `*` matches every ending. In the spelling that is really
# sent: look-alikes with other characters for `-` and `_` are dropped from everyone. Without those we set.
ONLY_PROXIES_MAY_SEND: tuple[str, ...] = (
    # Many apps trust these: -Port, -Prefix, -Ssl, -Scheme, -Server, -Uri, -User, -Client-Cert.
    "X-Forwarded-*",
    # The client's address: Rails (Client-IP), PHP programs, request-ip and similar Node packages, mod_wsgi,
    # ASP.NET; set by CDNs, clouds, Envoy, ingress-nginx and WebLogic's plug-ins.
    "X-Forwarded", "Forwarded-For", "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP",
    "X-Original-For", "X-Original-Forwarded-For", "CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Pseudo-IPv4",
    "Fastly-Client-IP", "Fly-Client-IP", "X-Envoy-External-Address", "X-Azure-ClientIP", "X-Azure-SocketIP",
    "X-AppEngine-User-IP", "CloudFront-Viewer-Address", "Proxy-Client-IP", "WL-Proxy-Client-IP",
    # The scheme: Tornado, mod_wsgi, Plack, IIS, Pylons.
    "X-Scheme", "X-Url-Scheme", "X-Https", "Front-End-Https", "X-Original-Proto", "X-ARR-SSL", "CF-Visitor",
    "Fastly-SSL", "CloudFront-Forwarded-Proto", "WL-Proxy-SSL",
    # The host and the path: old Symfony, IIS, ASP.NET, mod_wsgi, gunicorn (the two with underscores).
    "X-Host", "X-Original-Host", "X-Original-URL", "X-Original-URI", "X-Original-Prefix", "X-Rewrite-URL",
    "X-Script-Name", "SCRIPT_NAME", "PATH_INFO",
    # The user that has logged in: Django, Authelia, oauth2-proxy, Grafana, Kubernetes.
    "Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email", "X-Remote-User", "X-Remote-Group",
    "X-WebAuth-User", "X-Auth-Request-*",
    # The client's certificate: usual names in nginx configurations, IIS, ALB.
    "X-Client-Cert", "X-SSL-Client-*", "SSL-Client-*", "X-ARR-ClientCert", "X-Amzn-Mtls-*",
)  # fmt: skip
_NEVER = ("proxy", "client-cert", "client-cert-chain")
# The balancer itself needs these, whoever has sent them.
_NEEDED = (
    "connection", "content-length", "cookie", "date", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-request-id",
)  # fmt: skip
_NAME = re.compile(r"[!#$%&'+\-.^_`|~0-9A-Za-z]+")


def _covers(pattern: str, name: str) -> bool:
    wanted = plain(pattern.removesuffix("*"))
    return plain(name).startswith(wanted) if pattern.endswith("*") else plain(name) == wanted


def _parse_names(value: object) -> object:
    if isinstance(value, list | tuple):
        for name in value:
            if not isinstance(name, str) or _NAME.fullmatch(name.removesuffix("*")) is None:
                raise ValueError(f"has an invalid header field name ({name}); write X-Acme-User, or X-Acme-*")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_parse_names), CommaList]


class ForwardedSettings(Group):
    """Exceptions from, and additions to, the fields that only a trusted proxy may send."""

    drop: Names = Field(
        default=(),
        description="Header fields that only a trusted proxy may send, besides those listed below: "
        "`X-Acme-User`, or by prefix `X-Acme-*`. From other peers they are dropped.",
    )
    keep: Names = Field(
        default=(),
        description="Fields of that list to pass on from every peer nevertheless: `X-Forwarded-Prefix`. "
        "Safe only if the app does not trust them.",
    )

    @field_validator("drop")
    @classmethod
    def _may_be_dropped(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if needed := next((each for each in _NEEDED if _covers(name, each)), None):
                raise ValueError(f"has {name}, but {needed} is needed; write names that only proxies send")
            if any(_covers(each, name) for each in (*SET_HERE, *_NEVER, *ONLY_PROXIES_MAY_SEND)):
                raise ValueError(f"has {name}, which is dropped anyway; remove it")
        return names

    @field_validator("keep")
    @classmethod
    def _would_be_dropped(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        dropped = info.data.get("drop", ())
        for name in names:
            own = plain(name)
            if name.endswith("*"):
                raise ValueError(f"has {name}; write out the names, so that no other is kept")
            if own in SET_HERE:
                raise ValueError(
                    f"has {name}, which the balancer sets itself; if a proxy in front sets it, "
                    "add that proxy to TRUSTED_PROXIES"
                )
            if own in _NEVER:
                raise ValueError(f"has {name}, which is never passed on; remove it")
            if own in map(plain, dropped):
                raise ValueError(f"has {name}, which FORWARDED__DROP has too; remove one of them")
            if not any(_covers(pattern, own) for pattern in (*ONLY_PROXIES_MAY_SEND, *dropped)):
                raise ValueError(f"has {name}, which is passed on anyway; remove it")
        return names

    @property
    def told(self) -> tuple[str, ...]:
        """All names and patterns of fields that only a trusted proxy may send, in lower case."""
        return tuple(name.lower() for name in (*ONLY_PROXIES_MAY_SEND, *self.drop))

    @property
    def kept(self) -> tuple[str, ...]:
        """The exceptions, in lower case."""
        return tuple(name.lower() for name in self.keep)

    def about(self, name: str, trusts_any: bool) -> str | None:
        """Why nothing can go by a field that only trusted proxies may send, of which there are some if
        `trusts_any`: the end of a sentence that names it. None if requests have it."""
        lower, own = name.lower(), plain(name)
        patterns = [one for one in (*ONLY_PROXIES_MAY_SEND, *self.drop) if _covers(one, own)]
        if lower in SET_HERE or own in map(plain, self.keep) or not patterns:
            return None
        if lower not in {own if one.endswith("*") else one.lower() for one in patterns}:
            meant = own if patterns[0].endswith("*") else patterns[0]
            return f"which is dropped, as apps take it for {meant}; write that"
        if trusts_any:
            return None
        return (
            "which only trusted proxies may send, and there are none; set TRUSTED_PROXIES or FORWARDED__KEEP"
        )
