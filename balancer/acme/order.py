"""One order of a certificate for one domain (L0), from the directory to the chain (RFC 8555 section 7.4)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from acme import challenges, messages
from acme.client import ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from balancer.acme.account import Account, is_gone, known, registered
from balancer.acme.challenge import Shown, shown
from balancer.acme.kinds import KINDS
from balancer.acme.network import Network, in_words
from balancer.acme.problem import Cause, OrderError

MOST_SECONDS = 120.0  # for the authority to look, and as long to issue


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to order, and where. `challenge` is the kind that is answered if it is offered, else another one.
    `ca` is a file with authorities that are trusted, "" for public ones. `agent` names this program."""

    domain: str
    directory_url: str
    email: str
    ca: str
    challenge: str
    agent: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A chain and its key as PEM. `challenge` is the kind that was answered, "" if none was asked for."""

    chain: bytes
    key: bytes
    challenge: str


def order(
    wanted: Wanted,
    account: Account,
    keep: Callable[[Account], None],
    publish: Callable[[Sequence[Shown]], None],
) -> Issued:
    """Order it. `keep` gets the account, if it has changed, as soon as the authority knows it. `publish`
    returns when the authority would find what it looks for. Raises OrderError."""
    logging.getLogger("acme").addHandler(logging.NullHandler())
    host = urlsplit(wanted.directory_url).netloc
    network = Network(account.jwk, wanted.ca, wanted.agent)
    with in_words(host, network):
        client = ClientV2(ClientV2.get_directory(wanted.directory_url, network), network)
        if client.external_account_required():
            text = "wants an external account (EAB), which is not supported; use files (TLS__CERTIFICATES)"
            raise OrderError(Cause.REFUSED, f"{host} {text}")
        there = known(client, account, wanted.email)
        if there != account:
            keep(there)
        key = ec.generate_private_key(ec.SECP256R1())
        request = _request(wanted.domain, key)
        try:
            asked = client.new_order(request)
        except messages.Error as error:
            if not is_gone(error):
                raise
            keep(registered(client, account, wanted.email))
            asked = client.new_order(request)
        challenge = _answer(client, asked, wanted, account, publish)
        done = client.finalize_order(asked, _deadline())
    return Issued(
        chain=done.fullchain_pem.encode(),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        challenge=challenge,
    )


def _request(domain: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    names = x509.SubjectAlternativeName([x509.DNSName(domain)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def _answer(
    client: ClientV2,
    asked: messages.OrderResource,
    wanted: Wanted,
    account: Account,
    publish: Callable[[Sequence[Shown]], None],
) -> str:
    """Have the authority look, and wait until it has. Returns the kind of challenge, "" for none."""
    pending = [
        _chosen(each.body, wanted)
        for each in asked.authorizations
        if each.body.status != messages.STATUS_VALID
    ]
    if not pending:
        return ""
    key = account.jwk
    publish([shown(wanted.domain, each, key) for each in pending])
    for each in pending:
        client.answer_challenge(each, each.response(key))
    client.poll_authorizations(asked, _deadline())
    return str(pending[0].chall.typ)


def _chosen(authorization: messages.Authorization, wanted: Wanted) -> messages.ChallengeBody:
    """The challenge to answer. Raises OrderError if none can be."""
    offered = {_kind(each.chall): each for each in authorization.challenges}
    for kind in (wanted.challenge, *KINDS):
        if kind in offered:
            return offered[kind]
    names = ", ".join(sorted(offered)) or "nothing"
    text = f"the authority offers neither {' nor '.join(KINDS)} for {wanted.domain}, but {names}; use files"
    raise OrderError(Cause.REFUSED, text)


def _kind(challenge: challenges.Challenge) -> str:
    if isinstance(challenge, challenges.UnrecognizedChallenge):
        return str(challenge.jobj.get("type"))
    return str(challenge.typ)


def _deadline() -> datetime:
    return datetime.now() + timedelta(seconds=MOST_SECONDS)  # the library compares it with local time
