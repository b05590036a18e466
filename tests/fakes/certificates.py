"""Certificates for tests: usual ones by trustme, odd ones made here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

NOW = datetime(2030, 1, 1, tzinfo=UTC)  # for certificates made here
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def authority() -> trustme.CA:
    """One for all tests: making keys takes time."""
    return trustme.CA()


def text_of(blob: trustme.Blob) -> bytes:
    return blob.bytes()


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate made here, with its key."""

    certificate: x509.Certificate
    private: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key(self) -> bytes:
        return key_pem(self.private)


def key_pem(private: PrivateKey, password: bytes = b"", *, old: bool = False) -> bytes:
    """The key as PEM, encrypted if there is a password; `old`: not in PKCS#8."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    kind = serialization.PrivateFormat.TraditionalOpenSSL if old else serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, kind, encryption)


def made(
    subject: str,
    by: Made | None = None,
    *,
    names: tuple[str, ...] = (),
    days: float = 90,
    begun: float = 1,
    private: PrivateKey | None = None,
    aia: bool = False,
) -> Made:
    """A certificate that is valid for `days` from NOW, and since `begun` days before it. `by`: its issuer,
    None for itself. `aia`: it says where its issuer's certificate is."""
    own = private or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(by.certificate.subject if by else _name(subject))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=begun))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
        )
    if aia:
        url = x509.UniformResourceIdentifier("http://ca.example/issuer.der")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return Made(builder.sign(by.private if by else own, hashes.SHA256()), own)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pair_in(folder: Path, name: str = "site", host: str = "shop.example") -> tuple[Path, Path]:
    """Files with a certificate for `host` with its chain, and its key."""
    leaf = authority().issue_cert(host)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join(map(text_of, leaf.cert_chain_pems)))
    key.write_bytes(text_of(leaf.private_key_pem))
    return certificate, key
