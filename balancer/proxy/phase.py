"""What an exchange is waiting for, and what it means if its deadline passes: one table.

| phase | it waits for | limit | failure | to blame |
|---|---|---|---|---|
| QUEUED | a slot | the queue's own | | nobody |
| DIALLING, DIALLING_EARLY | a connection | FIRST_BYTE, IDLE | connect_timeout | upstream |
| UPLOADING | more of the request | IDLE | body_timeout | client |
| UNTAKEN | the upstream to read the request | IDLE | first_byte_timeout | upstream |
| EXPECTING | the 100 that the client waits for | IDLE | first_byte_timeout | upstream |
| AWAITING | the response | FIRST_BYTE | first_byte_timeout | upstream |
| RELAYING | more of the response | IDLE | idle_timeout | upstream |
| DUPLEX | more of the response or of the request | IDLE | (the client is treated as gone) | client |
| UNREAD | the client to read the response | IDLE | (the client is treated as gone) | client |
| TUNNEL | either side | TUNNEL_IDLE, IDLE | (the tunnel ends) | nobody |
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from balancer.errors import (
    BODY_TIMEOUT,
    CONNECT_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    Failure,
    Source,
)
from balancer.proxy.state import ExchangeState
from balancer.spec.worker import FOREVER_NS, RouteTimeouts


class Phase(Enum):
    """What an exchange waits for."""

    QUEUED = auto()
    DIALLING = auto()
    DIALLING_EARLY = auto()
    UPLOADING = auto()
    UNTAKEN = auto()
    EXPECTING = auto()
    AWAITING = auto()
    RELAYING = auto()
    DUPLEX = auto()
    UNREAD = auto()
    TUNNEL = auto()


class Limit(Enum):
    """The timeout setting that applies."""

    FIRST_BYTE = auto()
    IDLE = auto()
    NONE = auto()  # the queue or the tunnel has its own deadline

    def of(self, timeouts: RouteTimeouts) -> int:
        """In ns."""
        if self is Limit.NONE:
            return FOREVER_NS
        return timeouts.first_byte_ns if self is Limit.FIRST_BYTE else timeouts.idle_ns


@dataclass(frozen=True, slots=True)
class Rule:
    """What a passed deadline means in a phase. `lack` names what did not arrive."""

    limit: Limit
    blames: Source
    failure: Failure | None = None
    lack: str = ""

    def detail(self, timeouts: RouteTimeouts) -> str:
        """The detail for the client: it names the timeout setting, which is what to change."""
        seconds = self.limit.of(timeouts) / 1e9
        return f"{self.lack} within BALANCER_TIMEOUTS__{self.limit.name} ({seconds:g} s)"


_CLIENT: Final = Source.CLIENT
_UPSTREAM: Final = Source.UPSTREAM
_BALANCER: Final = Source.BALANCER
_NO_HEAD: Final = "no response head"

RULES: Final[dict[Phase, Rule]] = {
    Phase.QUEUED: Rule(Limit.NONE, _BALANCER),
    Phase.DIALLING: Rule(Limit.FIRST_BYTE, _UPSTREAM, CONNECT_TIMEOUT, "no connection"),
    Phase.DIALLING_EARLY: Rule(Limit.IDLE, _UPSTREAM, CONNECT_TIMEOUT, "no connection"),
    Phase.UPLOADING: Rule(Limit.IDLE, _CLIENT, BODY_TIMEOUT, "no more of the body"),
    Phase.UNTAKEN: Rule(Limit.IDLE, _UPSTREAM, FIRST_BYTE_TIMEOUT, _NO_HEAD),
    Phase.EXPECTING: Rule(Limit.IDLE, _UPSTREAM, FIRST_BYTE_TIMEOUT, _NO_HEAD),
    Phase.AWAITING: Rule(Limit.FIRST_BYTE, _UPSTREAM, FIRST_BYTE_TIMEOUT, _NO_HEAD),
    Phase.RELAYING: Rule(Limit.IDLE, _UPSTREAM, IDLE_TIMEOUT, "no more of the response"),
    Phase.DUPLEX: Rule(Limit.IDLE, _CLIENT),
    Phase.UNREAD: Rule(Limit.IDLE, _CLIENT),
    Phase.TUNNEL: Rule(Limit.NONE, _BALANCER),
}


def phase_of(exchange: ExchangeState) -> Phase:
    """The phase follows from what has been received and sent so far; it is not stored."""
    if exchange.tunnel is not None:
        return Phase.TUNNEL
    whole = exchange.request_whole
    if exchange.connecting.waiting:
        return Phase.QUEUED
    if exchange.response_begun:
        if exchange.client.paused:
            return Phase.UNREAD
        return Phase.RELAYING if whole or exchange.upstream_paused else Phase.DUPLEX
    if exchange.connecting.dialling is not None:
        return Phase.DIALLING if whole else Phase.DIALLING_EARLY
    if whole:
        return Phase.AWAITING
    if exchange.upstream_paused:
        return Phase.UNTAKEN
    # A client that waits for 100 before it sends its body waits for the upstream (RFC 9110 section 10.1.1).
    begun = exchange.request_bytes > 0 or exchange.informed or exchange.head.find(b"expect") is None
    return Phase.UPLOADING if begun else Phase.EXPECTING
