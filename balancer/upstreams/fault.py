"""One attempt that did not succeed, as outlier detection weighs it: how far its upstream is to blame (L1)."""

import ipaddress
from dataclasses import dataclass
from enum import Enum

from balancer.errors import Outcome


class Proof(Enum):
    """What an attempt that failed proves against its upstream."""

    SURE = (
        1  # it is the upstream: no connection, an error of its own, or another one answered the same request
    )
    UNTRIED = 2  # no other upstream had the request, or the client may have played a part
    ALIKE = 3  # it failed wherever it was sent: then it is the request


@dataclass(frozen=True, slots=True)
class Fault:
    """`client` is who sent the request, as `client_network` has it, "" where it plays no part. `held`: it is
    the client, by a cookie or a hash key, who chose the upstream rather than the policy."""

    outcome: Outcome
    proof: Proof = Proof.SURE
    client: str = ""
    held: bool = False


def proof(*, answered: bool, sent_to: int, whole: bool) -> Proof:
    """What the end of an exchange proves of an attempt that failed on the way there.

    | the request | |
    |---|---|
    | was answered, below 500, by another upstream | SURE |
    | the same, but the attempt failed while its client still sent: it may have waited too long | UNTRIED |
    | was sent to others too, and none answered well | ALIKE |
    | was sent to nobody else | UNTRIED |

    It was `sent_to` so many upstreams in all; `whole`: all of it had been sent when the attempt failed.
    """
    if answered:
        return Proof.SURE if whole else Proof.UNTRIED
    return Proof.ALIKE if sent_to > 1 else Proof.UNTRIED


def client_network(address: str) -> str:
    """Who counts as one client: an IPv4 address, or a /64 of IPv6, which is what one household has."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Run:
    """Faults in a row, of one symptom.

    `sure` count by themselves. `doubtful` are those that prove little: untried ones, and what a client that
    holds its upstream brings after its first. `has_second`: at least two clients brought some of them who had
    not chosen this upstream.
    """

    __slots__ = ("_first", "_holders", "doubtful", "has_second", "sure")

    def __init__(self) -> None:
        self.begin_anew()

    @property
    def length(self) -> int:
        """How many there are."""
        return self.sure + self.doubtful

    def begin_anew(self) -> None:
        """The next fault is the first."""
        self.sure = 0
        self.doubtful = 0
        self.has_second = False
        self._first = ""
        self._holders: tuple[str, ...] = ()

    def add(self, fault: Fault, most: int) -> None:
        """One more; `most` in a row are too many, so no more clients than that need be remembered."""
        counted = fault.held and (fault.client in self._holders or len(self._holders) >= most)
        if fault.proof is Proof.UNTRIED or counted:
            self.doubtful += 1
        else:
            self.sure += 1
            if fault.held:
                self._holders = (*self._holders, fault.client)
        if fault.client and not fault.held:
            self._first = self._first or fault.client
            self.has_second |= fault.client != self._first
