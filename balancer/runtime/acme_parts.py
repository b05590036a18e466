"""What the supervisor, the process that orders a certificate, and the storage tell each other (L7).

It crosses pipes and is kept in files: the supervisor loads neither the settings' models nor cryptography.
"""

from typing import TypeAlias

from balancer.acme.problem import Cause
from balancer.spec.part import Decoder, Part
from balancer.spec.tls import ChallengeSpec


class AcmePlan(Part, frozen=True, kw_only=True):
    """Automatic certificates. `domains` are the labels of the last certificates, which are self-signed for
    those that are `awaited`. `folder` is the authority's in the storage; `ca` is a file, "" for public
    authorities; `email` is "" for none."""

    domains: tuple[str, ...]
    awaited: tuple[str, ...]
    directory_url: str
    folder: str
    email: str
    ca: str


class OrderRequest(Part, frozen=True, kw_only=True):
    """What to order. `challenge` is the kind to answer if it is offered."""

    domain: str
    directory_url: str
    folder: str
    email: str
    ca: str
    challenge: str


class Publish(Part, frozen=True, kw_only=True, tag="publish"):
    """The process waits until clients would find these."""

    challenges: tuple[ChallengeSpec, ...]


class Note(Part, frozen=True, kw_only=True, tag="note"):
    """A line for the log: a warning."""

    text: str


class Ordered(Part, frozen=True, kw_only=True, tag="ordered"):
    """The certificate is in the storage. `challenge` is the kind that was answered, "" if none was asked for.
    `not_before` and `not_after` are the certificate's, in seconds since the epoch."""

    challenge: str
    not_before: float
    not_after: float


class Failed(Part, frozen=True, kw_only=True, tag="failed"):
    """There is none: `why` is a sentence; `retry_after` is in seconds, 0 if the authority names none."""

    cause: Cause
    why: str
    retry_after: float = 0.0


class AccountRecord(Part, frozen=True, kw_only=True):
    """The file with the account: as `acme.account.Account`."""

    key: bytes
    url: str
    email: str


class State(Part, frozen=True, kw_only=True):
    """The file about the orders for a domain. Times are in seconds since the epoch. `failures` are in a
    row, of those with the last `cause` or similar ones; nothing is ordered before `not_before`, whatever
    happens to the process. `challenge` is the kind that is answered next, "" for the usual one."""

    failures: int = 0
    cause: str = ""
    not_before: float = 0.0
    challenge: str = ""
    error: str = ""
    at: float = 0.0  # of the last end of an order


class Pending(Part, frozen=True, kw_only=True):
    """The file with challenges of an order; they are not answered after `until`."""

    challenges: tuple[ChallengeSpec, ...]
    until: float


Said: TypeAlias = Publish | Note | Ordered | Failed


def decode_said(data: bytes) -> Said:
    """A line of the process that orders. Raises DecodeError."""
    return Decoder[Said](Said).decode(data)


def decode_request(data: bytes) -> OrderRequest:
    """Raises DecodeError."""
    return Decoder[OrderRequest](OrderRequest).decode(data)
