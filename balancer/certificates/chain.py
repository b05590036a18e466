"""Chains of certificates (L0): found among those of a file, and put in order, the leaf first."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from balancer.certificates.pem import Block, Pem
from balancer.certificates.problem import CertificateError

_SHOWN = 2  # names of a certificate in a sentence
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


def certificates(pem: Pem, blocks: Sequence[Block]) -> list[x509.Certificate]:
    """The certificates among the blocks of `pem`, in their order. Raises CertificateError."""
    found = []
    for number, block in enumerate((each for each in blocks if each.is_certificate), 1):
        try:
            found.append(x509.load_pem_x509_certificate(block.text))
        except ValueError:
            text = f"has a damaged certificate (number {number} in it); copy it again"
            raise CertificateError(pem.where, text) from None
    if found:
        return found
    kinds = ", ".join(sorted({block.kind for block in blocks}))
    if "REQUEST" in kinds:
        text = (
            "holds the request for a certificate, not the certificate; name the file that the authority sent"
        )
    else:
        text = f"holds {kinds}, but no certificate; name the file with the certificate"
    raise CertificateError(pem.where, text)


def leaf_of(key: PublicKeyTypes, among: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The certificate for this key; if it was renewed, the one that is valid for longest. None if there is
    none."""
    wanted = _encoded(key)
    own = [each for each in among if _encoded(each.public_key()) == wanted]
    return max(own, key=lambda each: each.not_valid_after_utc, default=None)


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def chain_from(leaf: x509.Certificate, among: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The leaf, its issuer, the issuer's issuer and so on, as far as they are there."""
    chain = [leaf]
    while not is_self_issued(chain[-1]):
        issuers = [each for each in among if each not in chain and _has_issued(each, chain[-1])]
        if not issuers:
            break
        # An authority's certificate may have been renewed with the same key.
        chain.append(max(issuers, key=lambda each: each.not_valid_after_utc))
    return chain


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether it is its own issuer: a root, or a self-signed certificate."""
    return certificate.issuer == certificate.subject


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def lacks_intermediate(chain: Sequence[x509.Certificate]) -> bool:
    """Whether the chain is a lone leaf that says where to get its issuer's certificate. Public authorities do
    so, and never issue with a root, so clients need an intermediate that is not there."""
    return len(chain) == 1 and not is_self_issued(chain[0]) and _names_its_issuer(chain[0])


def _names_its_issuer(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in found.value)


def weak_hash(chain: Sequence[x509.Certificate]) -> str:
    """The hash with which one of them is signed, if clients refuse it; "" if none is. A root's own signature
    does not matter."""
    for each in chain:
        used = each.signature_hash_algorithm
        if isinstance(used, _WEAK_HASHES) and not (is_self_issued(each) and len(chain) > 1):
            return used.name.upper()
    return ""


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses that it is for, in lower case, without repeats."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = [name.lower().rstrip(".") for name in found.get_values_for_type(x509.DNSName)]
    return tuple(dict.fromkeys([*names, *map(str, found.get_values_for_type(x509.IPAddress))]))


def in_words(name: x509.Name) -> str:
    """A name of an authority or a subject, for people: its common name, else its organisation."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return str(attribute.value)
    return name.rfc4514_string() or "an unnamed authority"


def called(certificate: x509.Certificate) -> str:
    """A certificate for people: some of its names; if it has none, as authorities, its subject."""
    names = names_of(certificate)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else in_words(certificate.subject)


def day(when: datetime) -> str:
    """A moment as a date with the time, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
