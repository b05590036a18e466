"""The roles on the upstream side (L3): a connection, its reader while it is busy, its owner while it is idle.

They name no protocol: a second one to upstreams implements `UpstreamSide`, and nothing above notices.
"""

from abc import ABC, abstractmethod

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.http.head import RequestHead, ResponseHead
from balancer.upstreams.upstream import Upstream


class Outlet(ABC):
    """Where what is read goes to."""

    __slots__ = ()

    @abstractmethod
    def room(self) -> int:
        """Bytes that the kernel would take now; 0 where that cannot be told."""

    @abstractmethod
    def untaken(self) -> int:
        """Bytes written that the peer has not taken."""


class OutgoingRequest(ABC):
    """A request as far as it has come: `unsent` are the pieces of its body that are to be written now. With
    `request_whole` there will be no more, and `request_trailers` end it."""

    __slots__ = ("head", "peer", "request_id", "request_trailers", "request_whole", "unsent")

    head: RequestHead
    peer: Peer
    request_id: bytes
    unsent: tuple[bytes, ...]
    request_whole: bool
    request_trailers: bytes


class ResponseReader(ABC):
    """Holds a connection, and is told of the response to its request, in order, until the last call.

    The last call is one of `response(..., last=True)`, `response_body(..., last=True)`, `upstream_failed` and
    `crashed`; a tunnel ends with `tunnel_ended`. Before that `tunnel_half_closed` may say that no more data
    come.
    """

    __slots__ = ()

    @abstractmethod
    def informational(self, head: ResponseHead) -> None:
        """A 1xx response but 101."""

    @abstractmethod
    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        """The final response begins; `body` is what came of it with the head, `last` if that was all."""

    @abstractmethod
    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of its body; with the last piece, which may be empty, its trailers."""

    @abstractmethod
    def switched(self, head: ResponseHead, data: bytes) -> None:
        """101 as agreed: from here on a tunnel. `data` is the first of it."""

    @abstractmethod
    def tunnel_data(self, data: bytes) -> None:
        """More in the tunnel."""

    @abstractmethod
    def tunnel_half_closed(self) -> None:
        """The upstream has ended its direction."""

    @abstractmethod
    def tunnel_ended(self) -> None:
        """The connection is gone."""

    @abstractmethod
    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """No whole response will come."""

    @abstractmethod
    def upstream_paused(self, paused: bool) -> None:
        """The upstream does not keep up with what is written, or does again."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """A bug of ours, in anything that was called from here."""

    @abstractmethod
    def outlet(self) -> Outlet | None:
        """Where the response goes to at once; None where it is kept."""


class UpstreamSide(Outlet):
    """A connection to an upstream. One reader at a time holds it, for one request with its response.

    `closed`: nothing can be sent any more. `write_paused`: the upstream does not take what is written.
    `requests` counts those sent so far; times are in ns on the monotonic clock; a `generation` older than its
    owner's is not used again.
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
        """`reader` takes the connection, and `request` is written. `careful`: it may not be read twice, so
        whether it was read at all must be provable (`proves_unread`)."""

    @abstractmethod
    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        """Write more of the request's body, or of what a tunnel carries, if there is anybody to read it."""

    @abstractmethod
    def pace(self, paused: bool) -> None:
        """Read no more of the response, or go on reading."""

    @abstractmethod
    def takes(self) -> bool:
        """Whether `untaken` has changed since this was last asked."""

    @abstractmethod
    def proves_unread(self) -> bool:
        """Whether the kernel proves that the peer had closed before it read any of a `careful` request."""

    # --- a tunnel

    @abstractmethod
    def switch(self) -> None:
        """From here on bytes go out as they are."""

    @abstractmethod
    def end_writing(self) -> bool:
        """A FIN behind what was written; False where that is not possible."""

    @property
    @abstractmethod
    def fd(self) -> int:
        """The descriptor, for polling."""

    # --- ends

    @abstractmethod
    def release(self) -> bool:
        """The response is over, and the reader lets go: what arrives from now on is none of its business.
        Returns whether another request may follow."""

    @abstractmethod
    def cancel(self) -> None:
        """Close at once, without waiting for what is still to be written."""

    @abstractmethod
    def close_when_written(self) -> None:
        """Close when all that was written has gone out."""

    @abstractmethod
    def is_closing(self) -> bool:
        """Whether its end has begun, though nobody here has been told yet."""


class IdleOwner(ABC):
    """Keeps idle connections: given them back, and told when one of them can no longer be used."""

    __slots__ = ()

    @abstractmethod
    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """Its exchange is over: keep it, or close it."""

    @abstractmethod
    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """It has ended, or said something unasked, while nobody held it; `reason` is one of CLOSE_REASONS."""
