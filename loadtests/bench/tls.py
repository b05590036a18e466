"""What the proxies have in common in the cases with TLS: certificate, version, cipher suite, key exchange."""

import socket
import ssl
from pathlib import Path

import trustme

from loadtests.errors import BenchError

# The one that OpenSSL's clients prefer; Python's ssl cannot choose those of TLS 1.3.
SUITE = "TLS_AES_256_GCM_SHA384"


def certificate(directory: Path) -> Path:
    """Write a PEM file with an ECDSA P-256 key and its certificate, and return its path."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("app.example.com", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    file = directory / "certificate.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    return file


def client() -> ssl.SSLContext:
    """TLS 1.3, any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def require_suite(name: str, port: int) -> None:
    """`BenchError` if a proxy does not choose SUITE: the figures could not be compared."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5.0) as plain,
        client().wrap_socket(plain) as secured,
    ):
        chosen = secured.cipher()
    if chosen is None or chosen[0] != SUITE:
        raise BenchError(f"{name} chose {chosen and chosen[0]}, not {SUITE}")
