"""A certificate with its key (L0), read and checked as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from balancer.certificates import chain as chains
from balancer.certificates import key as keys
from balancer.certificates.pem import Pem, blocks
from balancer.certificates.problem import CertificateError


@dataclass(frozen=True, slots=True)
class Pair:
    """What workers need, and what people want to know. `chain` and `key` are PEM, the leaf first, the key not
    encrypted. `not_before` and `not_after` are in seconds since the epoch. `warnings` are sentences about
    what clients may refuse."""

    names: tuple[str, ...]
    issuer: str
    not_before: float
    not_after: float
    chain: bytes
    key: bytes
    was_encrypted: bool
    warnings: tuple[str, ...]


def checked(
    certificate: Pem,
    key: Pem | None,
    password: bytes | None,
    now: float,
    *,
    for_clients: bool = True,
    no_key: str = "add it to the setting: certificate:key",
) -> Pair:
    """The pair in these texts. `key` is None if the certificate's text has both. `password` opens a key that
    is encrypted; `now` is in seconds since the epoch. `for_clients`: it is shown to clients, else to
    upstreams. `no_key` is the remedy if there is only a certificate. Raises CertificateError."""
    found = blocks(certificate)
    there = chains.certificates(certificate, found)
    holder = certificate if key is None else key
    if key is None:
        block = keys.only_key(certificate, found, no_key)
    else:
        block = keys.only_key(key, blocks(key), "name the file with the key")
    opened = keys.opened(holder.where, block, password, may_be_encrypted=for_clients)
    leaf = chains.leaf_of(opened.public_key(), there)
    if leaf is None:
        raise CertificateError(holder.where, _of_another(certificate, key, there))
    chain = chains.chain_from(leaf, there)
    if weak := chains.weak_hash(chain):
        whom = "clients" if for_clients else "upstreams"
        text = f"has a certificate signed with {weak}, which {whom} refuse; let a new one be issued"
        raise CertificateError(certificate.where, text)
    return Pair(
        names=chains.names_of(leaf),
        issuer=chains.in_words(leaf.issuer),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        key=keys.plain_text(opened),
        was_encrypted=keys.is_encrypted(block),
        warnings=tuple(f"{certificate.where} {text}" for text in _doubts(chain, there, now, for_clients)),
    )


def authorities(pem: Pem, now: float) -> tuple[bytes, tuple[str, ...]]:
    """The certificates of authorities as PEM, and sentences about them. Raises CertificateError."""
    there = chains.certificates(pem, blocks(pem))
    names = [chains.in_words(each.subject) for each in there if each.not_valid_after_utc.timestamp() < now]
    warnings = [f"{pem.where} has an authority that has expired: {name}; replace it" for name in names]
    return b"".join(each.public_bytes(Encoding.PEM) for each in there), tuple(warnings)


def _of_another(certificate: Pem, key: Pem | None, there: Sequence[x509.Certificate]) -> str:
    subject = chains.called(there[0])
    if key is None:
        return f"has a key that is not that of its certificate ({subject}); use the two that belong together"
    where = f"{certificate.where} ({subject})"
    return f"is not the key of the certificate in {where}; use the two that belong together"


def _doubts(
    chain: list[x509.Certificate], there: list[x509.Certificate], now: float, for_clients: bool
) -> Iterator[str]:
    """What clients, or upstreams, may refuse: the ends of sentences that begin with the file."""
    leaf, at = chain[0], datetime.fromtimestamp(now, UTC)
    whom = "clients" if for_clients else "upstreams"
    if leaf.not_valid_after_utc <= at:
        yield f"has expired, on {chains.day(leaf.not_valid_after_utc)}: {whom} refuse it; renew it"
    if leaf.not_valid_before_utc > at:
        since = chains.day(leaf.not_valid_before_utc)
        yield f"is not valid before {since}: {whom} refuse it until then; check this machine's clock"
    for each in chain[1:]:
        if each.not_valid_after_utc <= at:
            name = chains.in_words(each.subject)
            yield f"has an intermediate that has expired ({name}); take the authority's latest chain"
    if for_clients and not chains.names_of(leaf):
        yield "has no subjectAltName: clients refuse it for every name; let a new one be issued"
    if for_clients and chains.lacks_intermediate(chain):
        yield (
            f"has no intermediate certificate of {chains.in_words(leaf.issuer)}, so some clients refuse it; "
            "append that, or name the authority's full chain (fullchain.pem)"
        )
    if strays := [chains.called(each) for each in there if each not in chain]:
        yield f"has certificates that are not of its chain and are not sent: {', '.join(strays)}; remove them"
