"""The roles around an exchange (L5): the client's side, and those for whom attempts are connected and made.

They name no protocol and no transport: a second protocol to clients implements `ClientSide`, and the
exchange does not notice.
"""

from abc import abstractmethod

from balancer.connections.roles import OutgoingRequest, Outlet, UpstreamSide
from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.http.head import ResponseHead
from balancer.upstreams.upstream import Upstream


class ClientSide(Outlet):
    """Where one exchange's response goes, and its request comes from. `paused`: the client does not keep up
    with what is written."""

    __slots__ = ("paused", "peer")

    peer: Peer
    scheme: bytes
    paused: bool

    # --- the response

    @abstractmethod
    def inform(self, head: ResponseHead) -> None:
        """Pass on a 1xx response, if the client understands it."""

    @abstractmethod
    def respond(self, head: ResponseHead, body: bytes, last: bool) -> None:
        """Begin the final response, with what has come of its body; `last` if that is all."""

    @abstractmethod
    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of its body, or of what a tunnel carries; with the last piece its trailers."""

    @abstractmethod
    def refuse(self, failure: Failure, detail: str, request_id: bytes, retry_after: int) -> int:
        """Answer with an error of our own. Returns the bytes of its body; `retry_after` in seconds."""

    @abstractmethod
    def reset(self) -> None:
        """Break the response off, visibly: it is not whole."""

    @abstractmethod
    def ended(self, now_ns: int) -> None:
        """The exchange is over, and all of the response is written."""

    @abstractmethod
    def last_one(self) -> None:
        """Nothing may follow this exchange on its connection."""

    @abstractmethod
    def takes(self) -> bool:
        """Whether the client has taken some of what was written since this was last asked, and not all."""

    # --- the request

    @abstractmethod
    def read_on(self, wanted: bool) -> None:
        """Whether more of the request's body, or of the tunnel, can be used now."""

    # --- a tunnel

    @abstractmethod
    def switch(self, head: ResponseHead) -> None:
        """Pass on the 101: from here on bytes go both ways as they are. Those already here come at once."""

    @abstractmethod
    def end_writing(self) -> bool:
        """A FIN behind what was written; False where that is not possible."""

    @property
    @abstractmethod
    def fd(self) -> int:
        """The descriptor, for polling."""


class ConnectionSeeker(OutgoingRequest):
    """The request for which an upstream is chosen and connected: answered with `send` or `fail`, at once or
    later."""

    __slots__ = ("client", "deadline_ns")

    client: ClientSide
    deadline_ns: int

    @abstractmethod
    def send(self, upstream: Upstream, connection: UpstreamSide, reused: bool, now_ns: int) -> None:
        """Here is a connection to `upstream`; `reused`: it was idle."""

    @abstractmethod
    def fail(self, failure: Failure, detail: str) -> None:
        """There is none."""

    @abstractmethod
    def begin_anew(self, now_ns: int) -> None:
        """An upstream is asked that was not before: it has as much time as the first one had."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """A bug of ours."""


class AttemptOwner(ConnectionSeeker):
    """For whom an attempt is made: told of the response as it comes, times in ns."""

    __slots__ = ()

    @abstractmethod
    def informational(self, head: ResponseHead) -> None:
        """A 1xx response but 101."""

    @abstractmethod
    def response(self, head: ResponseHead, body: bytes, last: bool, now_ns: int) -> None:
        """The final response begins; `last` if that is all of it."""

    @abstractmethod
    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of its body; with the last piece its trailers."""

    @abstractmethod
    def switched(self, head: ResponseHead, data: bytes) -> None:
        """101: a tunnel from here on. `data` is the upstream's first of it."""

    @abstractmethod
    def tunnel_data(self, data: bytes) -> None:
        """More from the upstream."""

    @abstractmethod
    def tunnel_half_closed(self) -> None:
        """The upstream has ended its direction."""

    @abstractmethod
    def tunnel_broke(self) -> None:
        """The upstream's connection is gone."""

    @abstractmethod
    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The attempt has failed, or takes too long."""

    @abstractmethod
    def pace(self, paused: bool) -> None:
        """The upstream does not keep up with the request, or does again."""

    @abstractmethod
    def tunnel_over(self) -> None:
        """The tunnel has let go of both sides."""
