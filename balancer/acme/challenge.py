"""The two challenges that are answered here (L0): HTTP-01 (RFC 8555 section 8.3), TLS-ALPN-01 (RFC 8737)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from acme import challenges, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from josepy.jwk import JWKEC

from balancer.acme.kinds import HTTP, TLS_ALPN

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTET_STRING = b"\x04\x20"  # in DER, with the 32 bytes of a SHA-256


@challenges.ChallengeResponse.register
class TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    """The library knows it no longer."""

    typ = TLS_ALPN


@challenges.Challenge.register
class TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """As above."""

    response_cls = TlsAlpn01Response
    typ = response_cls.typ

    def validation(self, account_key: Any, **_: Any) -> str:
        """The key authorization, which is what the certificate proves."""
        return self.key_authorization(account_key)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the authority looks for, as `spec.tls.ChallengeSpec`."""

    domain: str
    token: str = ""
    answer: str = ""
    chain: bytes = b""
    key: bytes = b""


def shown(domain: str, body: messages.ChallengeBody, key: JWKEC) -> Shown:
    """For a challenge of one of KINDS."""
    answer = body.chall.key_authorization(key)
    if body.chall.typ == HTTP:
        return Shown(domain, token=body.chall.encode("token"), answer=answer)
    chain, private = proof(domain, answer)
    return Shown(domain, chain=chain, key=private)


def proof(domain: str, answer: str) -> tuple[bytes, bytes]:
    """The certificate that proves control of `domain` (RFC 8737 section 3), and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTET_STRING + sha256(answer.encode()).digest()),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private
