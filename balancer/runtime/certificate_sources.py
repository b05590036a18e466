"""Which files have the certificates (L7), and what a process that reads them answers.

All of it crosses a pipe: the supervisor loads neither the settings' models nor cryptography.
"""

from balancer.config.address import Address
from balancer.config.file_stamps import Stamp
from balancer.config.pair_files import PairFiles
from balancer.runtime.acme_parts import AcmePlan
from balancer.spec.part import Decoder, Part
from balancer.spec.tls import CertificateSpec


class WatchPlan(Part, frozen=True, kw_only=True):
    """The files of some certificates, and of authorities; "" for none. `pairs` are those of the last
    certificates, in the same order; before them there may be one from the settings. `issuers` are by label,
    for display. `stamps` are those of all files, from before they were read. `automatic` are the labels of
    those that are ordered here, and `awaited` of those that are self-signed until then. `for_upstreams`: they
    are shown to upstreams, and the authorities are theirs."""

    pairs: tuple[PairFiles, ...]
    authorities: str
    issuers: dict[str, str]
    stamps: dict[str, Stamp]
    password_file: str = ""
    automatic: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    for_upstreams: bool = False


class TlsPlan(Part, frozen=True, kw_only=True):
    """What the supervisor needs beside `spec.tls.TlsSpec`. `acme` is None if there are no automatic
    certificates."""

    listen: Address
    files: WatchPlan
    acme: AcmePlan | None = None


class UpstreamTlsPlan(Part, frozen=True, kw_only=True):
    """Files with which `pools` speak TLS with their upstreams."""

    pools: tuple[str, ...]
    files: WatchPlan


class ReadRequest(Part, frozen=True, kw_only=True):
    """What to read; `authorities` is "" if they are not to be read. `for_upstreams` as in `WatchPlan`."""

    pairs: tuple[PairFiles, ...]
    password_file: str
    authorities: str
    for_upstreams: bool = False


class ReadPair(Part, frozen=True, kw_only=True, tag="pair"):
    """A good pair. `warnings` are sentences about what its peers may refuse."""

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
    authorities: ReadAuthorities | Unusable | None


def decode_answer(data: bytes) -> ReadAnswer:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[ReadAnswer](ReadAnswer).decode(data)


def decode_request(data: bytes) -> ReadRequest:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[ReadRequest](ReadRequest).decode(data)
