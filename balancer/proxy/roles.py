"""The roles around an exchange (L5): the client side, and the owners of connecting and of attempts.

They name no protocol and no transport: a second client protocol implements `ClientSide`, and the exchange
stays as it is.
"""

from abc import abstractmethod

from mypy_extensions import mypyc_attr

from balancer.connections.roles import OutgoingRequest, Outlet, UpstreamSide
from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.http.response_head import ResponseHead
from balancer.proxy.account import Account
from balancer.proxy.tracing import ExchangeTrace
from balancer.upstreams.upstream import Upstream


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientSide(Outlet):
    """Where an exchange's request comes from and its response goes to. `paused`: the client does not keep up
    with what is written. `tls` is the version of TLS, such as TLSv1.3, "" without it."""

    __slots__ = ("paused", "peer", "tls")

    peer: Peer
    paused: bool
    tls: str

    # --- the response

    @abstractmethod
    def inform(self, head: ResponseHead) -> None:
        """Pass on a 1xx response, if the client understands it."""

    @abstractmethod
    def respond(self, head: ResponseHead, body: bytes, last: bool) -> None:
        """Begin the final response, with the part of its body that has arrived; `last` if that is all."""

    @abstractmethod
    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        """Write more of the body, with the last piece its trailers; or more of a tunnel's data."""

    @abstractmethod
    def refuse(self, failure: Failure, detail: str, request_id: bytes, retry_after: int) -> int:
        """Answer with an error of our own. Returns the body's size in bytes; `retry_after` is in seconds."""

    @abstractmethod
    def reset(self) -> None:
        """Cut the response off so that the client sees that it is incomplete."""

    @abstractmethod
    def ended(self, now_ns: int) -> None:
        """The exchange is over, and all of the response is written."""

    @abstractmethod
    def last_one(self) -> None:
        """Nothing may follow this exchange on its connection."""

    @abstractmethod
    def takes(self) -> bool:
        """Whether the client has taken some, but not all, of what was written since the last call."""

    # --- the request

    @abstractmethod
    def read_on(self, wanted: bool) -> None:
        """Start or stop reading: whether more of the request's body, or of the tunnel, is `wanted`."""

    @abstractmethod
    def read_ahead(self) -> int:
        """Bytes that the client has sent, and that wait to be understood."""

    # --- a tunnel

    @abstractmethod
    def switch(self, head: ResponseHead) -> None:
        """Pass on the 101: from here on bytes are relayed unchanged, those already received at once."""

    @abstractmethod
    def end_writing(self) -> bool:
        """Send a FIN after what was written; False if that is not possible."""

    @property
    @abstractmethod
    def fd(self) -> int:
        """The descriptor, for polling."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ConnectionSeeker(OutgoingRequest):
    """The request that needs a connection to an upstream. It gets `send` or `fail`, at once or later. `trace`
    is set while it is recorded. `account` collects what happens to it, None unless it is explained."""

    __slots__ = ("account", "client", "deadline_ns", "started_ns", "trace")
    __deletable__ = ("client",)

    account: Account | None
    client: ClientSide
    deadline_ns: int
    started_ns: int
    trace: ExchangeTrace | None

    @abstractmethod
    def troubled(self) -> Account | None:
        """Its account, from now on; None if too many others have one."""

    @abstractmethod
    def send(self, upstream: Upstream, connection: UpstreamSide, reused: bool, now_ns: int) -> None:
        """`connection` to `upstream` is ready; `reused`: it was idle before."""

    @abstractmethod
    def fail(self, failure: Failure, detail: str) -> None:
        """There is no connection."""

    @abstractmethod
    def begin_anew(self, now_ns: int) -> None:
        """Another upstream is tried: the timeout starts again."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """A bug of ours."""


@mypyc_attr(allow_interpreted_subclasses=True)
class AttemptOwner(ConnectionSeeker):
    """The owner of an attempt, called as the response arrives; times in ns."""

    __slots__ = ()

    @abstractmethod
    def informational(self, head: ResponseHead) -> None:
        """A 1xx response other than 101."""

    @abstractmethod
    def response(self, head: ResponseHead, body: bytes, last: bool, now_ns: int) -> None:
        """The final response begins; `last` if that is all of it."""

    @abstractmethod
    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        """More of its body; with the last piece its trailers."""

    @abstractmethod
    def switched(self, head: ResponseHead, data: bytes) -> None:
        """101: a tunnel from here on. `data` is the first that the upstream sent in it."""

    @abstractmethod
    def tunnel_data(self, data: bytes) -> None:
        """More data from the upstream."""

    @abstractmethod
    def tunnel_half_closed(self) -> None:
        """The upstream has ended its direction."""

    @abstractmethod
    def tunnel_broke(self) -> None:
        """The upstream's connection is gone."""

    @abstractmethod
    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The attempt has failed, or has timed out."""

    @abstractmethod
    def pace(self, paused: bool) -> None:
        """The upstream does not keep up with the request (`paused`), or keeps up again."""

    @abstractmethod
    def tunnel_over(self) -> None:
        """The tunnel has released both sides."""
