"""The roles on the upstream side (L3): a connection, its reader while it is busy, its owner while it is idle.

They name no protocol: a second upstream protocol implements `UpstreamSide`, and nothing above changes.
"""

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

from balancer.errors import Failure
from balancer.http.edits import Edits, Facts
from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead
from balancer.upstreams.upstream import Upstream


@mypyc_attr(allow_interpreted_subclasses=True)
class Outlet(ABC):
    """Where data that is read is written to."""

    __slots__ = ()

    @abstractmethod
    def room(self) -> int:
        """Bytes that the kernel would take now; 0 if that is unknown."""

    @abstractmethod
    def untaken(self) -> int:
        """Bytes written that the peer has not taken."""


@mypyc_attr(allow_interpreted_subclasses=True)
class OutgoingRequest(ABC):
    """A request as far as it has arrived: `unsent` are the pieces of its body to be written now. If
    `request_whole` there will be no more, and `request_trailers` end it. `edits` are its route's, None if it
    has none. `head_tail` is what follows X-Request-ID in its head: lines about its trace, if any, and the
    empty one."""

    __slots__ = (
        "edits",
        "head",
        "head_tail",
        "peer",
        "request_id",
        "request_trailers",
        "request_whole",
        "unsent",
    )

    edits: Edits | None
    head: RequestHead
    head_tail: bytes
    peer: Peer
    request_id: bytes
    unsent: tuple[bytes, ...]
    request_whole: bool
    request_trailers: bytes

    @abstractmethod
    def facts(self) -> Facts:
        """The request, for the variables in edits."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ResponseReader(ABC):
    """Holds a connection, and gets the response to its request, in order, until the last call.

    The last call is one of `response(..., last=True)`, `response_body(..., last=True)`, `upstream_failed` and
    `crashed`; a tunnel ends with `tunnel_ended`. Before that, `tunnel_half_closed` may announce that no more
    data follows.
    """

    __slots__ = ()

    @abstractmethod
    def informational(self, head: ResponseHead) -> None:
        """A 1xx response other than 101."""

    @abstractmethod
    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        """The final response begins; `body` is what arrived with the head, `last` if that is all."""

    @abstractmethod
    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of its body; with the last piece, which may be empty, its trailers."""

    @abstractmethod
    def switched(self, head: ResponseHead, data: bytes) -> None:
        """101 to an upgrade: a tunnel from here on. `data` is the first received in it."""

    @abstractmethod
    def tunnel_data(self, data: bytes) -> None:
        """More data in the tunnel."""

    @abstractmethod
    def tunnel_half_closed(self) -> None:
        """The upstream has ended its direction."""

    @abstractmethod
    def tunnel_ended(self) -> None:
        """The connection is gone."""

    @abstractmethod
    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """There will be no complete response."""

    @abstractmethod
    def upstream_paused(self, paused: bool) -> None:
        """The upstream does not keep up with what is written (`paused`), or keeps up again."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """A bug of ours, in anything called from the connection."""

    @abstractmethod
    def outlet(self) -> Outlet | None:
        """Where the response is written at once; None if it is kept."""


@mypyc_attr(allow_interpreted_subclasses=True)
class UpstreamSide(Outlet):
    """A connection to an upstream. One reader at a time holds it, for one request with its response.

    `closed`: nothing can be sent any more. `write_paused`: the upstream does not take what is written.
    `requests` counts the requests sent so far; times are in ns on the monotonic clock; a connection with a
    `generation` older than its owner's is not used again.
    """

    __slots__ = ("closed", "created_ns", "generation", "idle_since_ns", "owner", "requests", "upstream",
                 "write_paused")  # fmt: skip

    upstream: Upstream
    owner: "IdleOwner"
    closed: bool
    write_paused: bool
    requests: int
    created_ns: int
    idle_since_ns: int
    generation: int

    # --- one request

    @abstractmethod
    def send(self, reader: ResponseReader, request: OutgoingRequest, careful: bool) -> None:
        """`reader` takes the connection, and `request` is written. `careful`: the request must not be read
        twice, so `proves_unread` must be able to prove that it was not read."""

    @abstractmethod
    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        """Write more of the request's body, or of a tunnel's data, unless the connection is closed."""

    @abstractmethod
    def pace(self, paused: bool) -> None:
        """Stop reading the response (`paused`), or go on."""

    @abstractmethod
    def takes(self) -> bool:
        """Whether `untaken` has changed since the last call."""

    @abstractmethod
    def proves_unread(self) -> bool:
        """Whether the kernel proves that the peer had closed before it read any of a `careful` request."""

    # --- a tunnel

    @abstractmethod
    def switch(self) -> None:
        """From here on bytes are sent unchanged, without chunk framing."""

    @abstractmethod
    def end_writing(self) -> bool:
        """Send a FIN after what was written; False if that is not possible."""

    @property
    @abstractmethod
    def fd(self) -> int:
        """The descriptor, for polling."""

    # --- ends

    @abstractmethod
    def release(self) -> bool:
        """The response is over: the reader gives up the connection and gets no more calls. Returns whether
        another request may follow."""

    @abstractmethod
    def cancel(self) -> None:
        """Close at once, without waiting for what is still to be written."""

    @abstractmethod
    def close_when_written(self) -> None:
        """Close after all that was written has gone out."""

    @abstractmethod
    def is_closing(self) -> bool:
        """Whether it is closing, even if `closed` is not set yet."""


@mypyc_attr(allow_interpreted_subclasses=True)
class IdleOwner(ABC):
    """Keeps idle connections: they are put back here, and discarded when they can no longer be used."""

    __slots__ = ()

    @abstractmethod
    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """The connection's exchange is over: keep it, or close it."""

    @abstractmethod
    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """It was closed, or sent data unasked, while no reader held it; `reason` is one of CLOSE_REASONS."""


@mypyc_attr(allow_interpreted_subclasses=True)
class IdleWatcher(ABC):
    """Wants the connections that become idle."""

    __slots__ = ()

    @abstractmethod
    def idle_again(self) -> None:
        """A connection has been put back. It may be taken in a later turn of the loop."""
