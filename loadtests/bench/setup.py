"""What a case asks of every proxy and of the origin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from loadtests.proxies import BACKLOG


class Origin(Enum):
    """What the app behind the proxies does."""

    FIXED = "one response of `body` bytes"
    CHUNKED = "the same in chunks"
    DIFFERING = "another length and ETag each time, another Date each second"
    READING = "reads the whole request, then answers"
    ECHO = "switches to WebSocket, and returns every message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """`body` in bytes. `settings` are of ours, on top of the defaults without BALANCER_. With `routes` the
    proxy has those of `site`, else one pool. With `tls` it listens with TLS 1.3 and the certificate."""

    upstreams: int = 4
    body: int = 100
    origin: Origin = Origin.FIXED
    policy: str = "least_connections"
    log: bool = False
    sticky: bool = False
    routes: bool = False
    tls: bool = False
    unbuffered: bool = False  # nginx passes request bodies on as they arrive, as ours and HAProxy do
    backlog: int = BACKLOG  # of each of the origin's ports
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy runs: its own directory, the port to listen on, a spare one, and the upstreams' ports.

    `certificate` is a PEM file with key and chain.
    """

    directory: Path
    port: int
    spare: int
    upstreams: Sequence[int]
    certificate: Path = Path()


Script = Callable[[int], str]
"""A Lua script for wrk, made for a proxy that listens on a port."""
