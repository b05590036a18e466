"""TLS listeners for tests, as workers are told of them, and clients that trust their authority."""

import ssl
from functools import cache

from balancer.spec.tls import CertificateSpec, TlsSpec
from tests.fakes.certificates import authority


@cache
def certificate(*names: str) -> CertificateSpec:
    """A certificate for these names; the first is its label too."""
    made = authority().issue_cert(*names)
    return CertificateSpec(
        label=names[0],
        names=names,
        chain=b"".join(blob.bytes() for blob in made.cert_chain_pems),
        key=made.private_key_pem.bytes(),
        not_after=4e9,
    )


def tls_spec(*certificates: CertificateSpec, **changes: object) -> TlsSpec:
    """A TLS listener, with a certificate for `shop.example` unless others are given."""
    values: dict[str, object] = {
        "name": "0.0.0.0:8443",
        "min_version": "1.2",
        "certificates": certificates or (certificate("shop.example"),),
        **changes,
    }
    return TlsSpec(**values)  # type: ignore[arg-type]  # the tests' own words


def client_context(*, verify: bool = True) -> ssl.SSLContext:
    """A client that trusts the authority."""
    context = ssl.create_default_context()
    if verify:
        authority().configure_trust(context)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def client_ca() -> bytes:
    """The authority's own certificate, in PEM."""
    return authority().cert_pem.bytes()


def with_client_certificate(context: ssl.SSLContext, name: str = "client@example") -> bytes:
    """The client gets a certificate of the authority; returns it in DER."""
    made = authority().issue_cert(name)
    made.configure_cert(context)
    return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())
