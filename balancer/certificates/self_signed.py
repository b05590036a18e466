"""A certificate that no authority has issued (L0), so that TLS can be spoken until there is one."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from balancer.certificates.key import plain_text
from balancer.certificates.pair import Pair

ISSUER = "balancer (self-signed, until the first certificate is issued)"
_SINCE, _VALID = 3600.0, 365 * 86400.0  # seconds: clocks differ


def self_signed(domains: Sequence[str], now: float) -> Iterator[Pair]:
    """One for each domain, all with the same key; `now` is in seconds since the epoch."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    for domain in domains:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(issuer)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(int(now - _SINCE), UTC))
            .not_valid_after(datetime.fromtimestamp(int(now + _VALID), UTC))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        yield Pair(
            names=(domain,),
            issuer=ISSUER,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            chain=certificate.public_bytes(Encoding.PEM),
            key=plain_text(key),
            was_encrypted=False,
            warnings=(),
        )
