"""TLS to the upstreams of a pool (L3): the context that its connections share."""

import ssl
from typing import Final

from balancer.connections.own_certificate import load_own_certificate
from balancer.spec.tls import UpstreamTlsSpec

_PROTOCOLS: Final = ["http/1.1"]
# Seconds for a handshake if there is no connect timeout.
MOST_HANDSHAKE: Final = 60.0


class UpstreamTls:
    """Makes the context when an upstream is first connected to by TLS: reading the authorities of the system
    takes 20 ms."""

    __slots__ = ("_context", "_spec")

    def __init__(self, spec: UpstreamTlsSpec) -> None:
        self._spec = spec
        self._context: ssl.SSLContext | None = None

    def update(self, spec: UpstreamTlsSpec) -> None:
        """Use this for new connections. Raises ssl.SSLError; nothing has changed then."""
        if self._context is not None:
            self._context = _context(spec)
        self._spec = spec

    @property
    def context(self) -> ssl.SSLContext:
        """For new connections. Raises ssl.SSLError."""
        if self._context is None:
            self._context = _context(self._spec)
        return self._context


def _context(spec: UpstreamTlsSpec) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.set_alpn_protocols(_PROTOCOLS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.hostname_checks_common_name = False  # RFC 9525 section 2
    if not spec.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca:
        context.load_verify_locations(cadata=spec.ca.decode("ascii"))
        # A certificate among these is trusted itself, also if its issuer is unknown.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs()
    if spec.certificate is not None:
        load_own_certificate(context, spec.certificate.chain, spec.certificate.key)
    return context
