"""Which files have the certificates (L7), and what a process that reads them answers.

All of it crosses a pipe: the supervisor loads neither the settings' models nor cryptography.
"""

from typing import Any

from balancer.config.address import Address
from balancer.config.file_stamps import Stamp
from balancer.config.pair_files import PairFiles
from balancer.runtime.acme_parts import AcmePlan
from balancer.spec.part import Decoder, Part
from balancer.spec.tls import CertificateSpec


class TlsPlan(Part, frozen=True, kw_only=True):
    """What the supervisor needs beside `spec.tls.TlsSpec`. `files` are those of the last certificates there,
    in the same order, the automatic ones at their end; before them there may be one from the settings.
    `password_file` and `client_ca` are "" if there is none. `issuers` are by label, for display. `stamps` are
    those of all files, from before they were read. `acme` is None if there are no automatic ones."""

    listen: Address
    files: tuple[PairFiles, ...]
    password_file: str
    client_ca: str
    issuers: dict[str, str]
    stamps: dict[str, Stamp]
    acme: AcmePlan | None = None


class ReadRequest(Part, frozen=True, kw_only=True):
    """What to read; `client_ca` is "" if it is not to be read."""

    pairs: tuple[PairFiles, ...]
    password_file: str
    client_ca: str


class ReadPair(Part, frozen=True, kw_only=True, tag="pair"):
    """A good pair. `warnings` are sentences about what clients may refuse."""

    spec: CertificateSpec
    issuer: str
    warnings: tuple[str, ...]


class ReadAuthorities(Part, frozen=True, kw_only=True, tag="authorities"):
    """Good authorities, as PEM."""

    pem: bytes
    warnings: tuple[str, ...]


class Unusable(Part, frozen=True, kw_only=True, tag="unusable"):
    """A pair or authorities that cannot be used: a sentence with the file's name and the remedy."""

    why: str


class ReadAnswer(Part, frozen=True, kw_only=True):
    """The answer to a ReadRequest: the pairs in its order, None for authorities that it did not name."""

    pairs: tuple[ReadPair | Unusable, ...]
    client_ca: ReadAuthorities | Unusable | None


def decode_answer(data: bytes) -> ReadAnswer:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    decoder: Decoder[Any] = Decoder(ReadAnswer)
    answer: ReadAnswer = decoder.decode(data)
    return answer


def decode_request(data: bytes) -> ReadRequest:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    decoder: Decoder[Any] = Decoder(ReadRequest)
    request: ReadRequest = decoder.decode(data)
    return request
