"""TLS with clients, and with upstreams (L1): plain values, encoded for the control channel."""

from balancer.spec.part import Part


class CertificateSpec(Part, frozen=True, kw_only=True):
    """A certificate with its key. `label` names it in metrics, logs and events, such as its file. `names`:
    the DNS names and IP addresses that it is for, in lower case, `*.` included. `chain` and `key` are PEM,
    the leaf first, the key not encrypted. `not_before` and `not_after` are in seconds since the epoch."""

    label: str
    names: tuple[str, ...]
    chain: bytes
    key: bytes
    not_after: float
    not_before: float = 0.0


class ChallengeSpec(Part, frozen=True, kw_only=True):
    """What an authority looks for before it issues a certificate for `domain` (RFC 8555 section 8).

    HTTP-01: the plain listener answers `answer` below `/.well-known/acme-challenge/`, at `token`. TLS-ALPN-01
    (RFC 8737), which has neither: the TLS listener shows `chain` with `key`, as PEM."""

    domain: str
    token: str = ""
    answer: str = ""
    chain: bytes = b""
    key: bytes = b""


class TlsSpec(Part, frozen=True, kw_only=True):
    """`name` is from the settings and labels metrics. `certificates` are chosen by SNI; the first serves
    clients whose name none has. `client_ca`: PEM of the authorities for client certificates, b"" = none are
    asked for; `client_required`: a client without one is refused. `public_port`: where clients connect to, as
    in redirects and X-Forwarded-Port. `redirect`: the plain listener redirects to it. `hsts`: the value of
    Strict-Transport-Security, "" = none."""

    name: str
    min_version: str  # "1.2" or "1.3"
    certificates: tuple[CertificateSpec, ...]
    client_ca: bytes = b""
    client_required: bool = False
    public_port: int = 443
    redirect: bool = False
    hsts: str = ""


class UpstreamTlsSpec(Part, frozen=True, kw_only=True):
    """How a pool speaks TLS with its upstreams. `ca` has the authorities as PEM, b"" = those of the system;
    `certificate` is shown to upstreams that ask for one. `server_name` replaces the name of each upstream,
    unless it is empty."""

    verify: bool
    ca: bytes = b""
    server_name: str = ""
    certificate: CertificateSpec | None = None

    def name_of(self, host: str) -> str:
        """Whom the upstream at `host` must prove to be. No final dot: neither SNI (RFC 6066 section 3) nor
        certificates have it."""
        return self.server_name or host.removesuffix(".")
