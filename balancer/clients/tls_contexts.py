"""The TLS contexts of a worker: one that all handshakes begin with, and one for each certificate.

A handshake begins with the front context. When the client has named its host (SNI, RFC 6066 section 3), the
context of the host's certificate takes over. New certificates replace only these, so that sessions can be
resumed as before: their tickets belong to the front context.
"""

import ssl
from typing import Final

from balancer.connections.own_certificate import load_own_certificate
from balancer.spec.tls import CertificateSpec, TlsSpec

# For TLS 1.2: keys are agreed upon for each connection (forward secrecy), and data is authenticated (AEAD).
# In TLS 1.3 there is nothing else.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
# For a session to be resumed once; OpenSSL's two take 20 us more of each handshake.
_TICKETS: Final = 1
_PROTOCOLS: Final = ["http/1.1"]
_VERSIONS: Final[dict[str, ssl.TLSVersion]] = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class TlsContexts:
    """`front` is for new handshakes. Raises ssl.SSLError for a certificate that cannot be used."""

    __slots__ = ("_spec", "_table", "front")

    def __init__(self, spec: TlsSpec) -> None:
        self._table = CertificateTable(spec)
        self._spec = spec
        self.front = _front(spec, self._table)

    def update(self, spec: TlsSpec) -> None:
        """Use other certificates for new handshakes. If it fails nothing has changed.

        Other rules for clients make a new front context: a session that was begun under the old rules could
        be resumed without being asked for a certificate, or for a better one.
        """
        table = CertificateTable(spec)
        if _rules(spec) == _rules(self._spec):
            self._table.contexts = table.contexts
        else:
            self.front = _front(spec, table)
            self._table = table
        self._spec = spec


class CertificateTable:
    """The context of each certificate, by the names that it is for."""

    __slots__ = ("contexts",)

    def __init__(self, spec: TlsSpec) -> None:
        """Raises ssl.SSLError."""
        self.contexts = _by_name(spec)

    def context(self, name: str | None) -> ssl.SSLContext:
        """The one for a server name, None if the client sent none. A name is looked up as it is, then as one
        below a wildcard, which stands for one label (RFC 9525 section 6.3)."""
        contexts = self.contexts
        if name:
            name = name.lower()
            found = contexts.get(name) or contexts.get("*." + name.partition(".")[2])
            if found is not None:
                return found
        return contexts[""]

    def chosen(self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        """OpenSSL's call, when it has read the server name, or that there is none."""
        handshake.context = self.context(name)


def _front(spec: TlsSpec, table: CertificateTable) -> ssl.SSLContext:
    context = _context(spec, spec.certificates[0])
    context.sni_callback = table.chosen
    return context


def _rules(spec: TlsSpec) -> tuple[str, bytes, bool]:
    return spec.min_version, spec.client_ca, spec.client_required


def _by_name(spec: TlsSpec) -> dict[str, ssl.SSLContext]:
    """The default is called "". Of several certificates for a name the first one counts."""
    contexts: dict[str, ssl.SSLContext] = {}
    for certificate in spec.certificates:
        context = _context(spec, certificate)
        for name in ("", *certificate.names):
            contexts.setdefault(name, context)
    return contexts


def _context(spec: TlsSpec, certificate: CertificateSpec) -> ssl.SSLContext:
    """All contexts have the same rules: which of them OpenSSL takes from the first one, and which from the
    last, differs from rule to rule."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[spec.min_version]
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(_PROTOCOLS)
    context.num_tickets = _TICKETS
    # A client that could ask for one handshake after the other would have us work for nothing.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    if spec.client_ca:
        context.load_verify_locations(cadata=spec.client_ca.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED if spec.client_required else ssl.CERT_OPTIONAL
    load_own_certificate(context, certificate.chain, certificate.key)
    return context
