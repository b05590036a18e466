"""The state of one exchange, for the code that judges, describes or logs it, and the ways to end it."""

from abc import abstractmethod
from typing import Final

from balancer.errors import Failure, Outcome
from balancer.http.head import HEAD_END
from balancer.http.response_head import ResponseHead
from balancer.proxy.attempt import Attempt
from balancer.proxy.connecting import Connecting, FailedAttempt
from balancer.proxy.context import ProxyContext
from balancer.proxy.replay import Replay
from balancer.proxy.roles import AttemptOwner, ClientSide
from balancer.proxy.router import Route
from balancer.proxy.side import Side
from balancer.proxy.tunnel import Tunnel
from balancer.spec.worker import FOREVER_NS
from balancer.upstreams.upstream import Upstream

CLIENT_GONE_STATUS: Final = 499  # as in nginx's logs; never sent


class ExchangeState(AttemptOwner):
    """Times are in ns on the monotonic clock; the sweep checks `deadline_ns`."""

    __slots__ = ("active", "attempt", "connecting", "context", "failure", "first_byte_ns", "holds",
                 "informed", "late_ns", "mark", "own_answer", "own_attempt", "refused", "replay",
                 "request_bytes", "response_begun", "response_bytes", "route", "side", "status", "sticky",
                 "trace_id", "tunnel", "unjudged", "upstream_paused")  # fmt: skip
    __deletable__ = ("connecting", "own_attempt")

    route: Route
    side: Side

    def __init__(self, client: ClientSide, context: ProxyContext) -> None:
        # for the client side's life
        self.client = client
        self.peer = client.peer
        self.context = context
        self.connecting = Connecting(self, context)
        self.own_attempt = Attempt(self, self.connecting, context)  # the last one that was begun
        self.replay: Replay | None = None  # made with the first body: most clients send none
        # for one exchange
        self.active = False
        self.account = None  # unless it is explained
        self.deadline_ns = FOREVER_NS
        self.started_ns = 0
        self.late_ns = 0  # how long the worker itself was late since then
        self.attempt: Attempt | None = None  # while it holds an upstream connection
        self.tunnel: Tunnel | None = None
        self.edits = None  # its route's
        self.mark = b""  # of the cookie that its route's split sets
        self.request_id = b""
        self.head_tail = HEAD_END
        self.trace = None
        self.trace_id = b""  # in hex digits, sampled or not; b"" if traces are off
        self.request_whole = True  # the client has sent all of it
        self.request_trailers = b""
        self.request_bytes = 0
        self.unsent = ()  # while there is no connection
        self.upstream_paused = False
        self.response_begun = False  # bytes of the final response have gone to the client
        self.informed = False  # bytes of a response have arrived, informational ones included
        self.response_bytes = 0
        self.first_byte_ns = 0  # of the last response that did not arrive whole, whichever exchange's
        self.status = 0
        self.sticky = -1  # what its pool's `affinity` has found, if it has one: of STICKY_RESULTS
        self.failure: Failure | None = None
        # for attempts that did not succeed
        self.holds = False  # any of these, or of `account`, `replay`, `edits` and `mark`, is set
        self.unjudged: tuple[FailedAttempt, ...] = ()  # they failed with a connection
        self.refused = False  # an upstream answered with an error, and another one was tried
        # That answer, if it is whole: passed on if no better one follows.
        self.own_answer: tuple[ResponseHead, bytes, Upstream] | None = None

    def exceeds_total(self, now_ns: int) -> bool:
        """Whether it is running for longer than it may in total; time the worker was late does not count."""
        return self.active and now_ns - self.started_ns - self.late_ns > self.route.timeouts.total_ns

    @abstractmethod
    def let_go(self, outcome: Outcome, close_reason: str) -> None:
        """Give up the attempt or the dials, if any; `close_reason` is one of CLOSE_REASONS."""

    @abstractmethod
    def client_failed(self, failure: Failure, detail: str) -> None:
        """The client broke its request, or is too slow."""

    @abstractmethod
    def client_gone(self) -> None:
        """The client has left."""
