"""Failed attempts as seen by outlier detection (L1): how far the upstream is to blame."""

import ipaddress
from dataclasses import dataclass
from enum import Enum

from balancer.errors import Outcome


class Proof(Enum):
    """How strongly a failed attempt counts against its upstream."""

    SURE = 1  # the upstream's fault: no connection, its own error, or another upstream answered the request
    UNTRIED = 2  # no other upstream was tried, or the client may have contributed
    ALIKE = 3  # it failed on every upstream: the request's fault


@dataclass(frozen=True, slots=True)
class Fault:
    """`client` is the sender as returned by `client_network`, "" if it does not matter. `held`: the client
    chose the upstream, by a cookie or hash key, not the policy."""

    outcome: Outcome
    proof: Proof = Proof.SURE
    client: str = ""
    held: bool = False


def proof(*, answered: bool, sent_to: int, whole: bool) -> Proof:
    """What the end of an exchange proves about an earlier failed attempt.

    | the request | |
    |---|---|
    | was answered below 500 by another upstream | SURE |
    | the same, but the attempt failed while the client was still sending: it may have been slow | UNTRIED |
    | was also sent to others, and none succeeded | ALIKE |
    | was sent to no other upstream | UNTRIED |

    `sent_to` is the total number of upstreams tried; `whole`: the request had been sent completely when the
    attempt failed.
    """
    if answered:
        return Proof.SURE if whole else Proof.UNTRIED
    return Proof.ALIKE if sent_to > 1 else Proof.UNTRIED


def client_network(address: str) -> str:
    """The network that counts as one client: an IPv4 address, or an IPv6 /64, as one household has."""
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
    """Consecutive faults with one symptom.

    `sure` faults count on their own. `doubtful` ones prove little: untried ones, and those after the first of
    a client that holds its upstream. `has_second`: at least two clients that had not chosen this upstream
    contributed to the run.
    """

    __slots__ = ("_first", "_holders", "doubtful", "has_second", "sure")

    def __init__(self) -> None:
        self.begin_anew()

    @property
    def length(self) -> int:
        """The number of faults."""
        return self.sure + self.doubtful

    def begin_anew(self) -> None:
        """Reset: the next fault is the first."""
        self.sure = 0
        self.doubtful = 0
        self.has_second = False
        self._first = ""
        self._holders: tuple[str, ...] = ()

    def add(self, fault: Fault, most: int) -> None:
        """Add a fault. `most` in a row are too many, so at most that many clients are remembered."""
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
