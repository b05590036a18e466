"""What is kept of an exchange so that its request can be sent once more, and whether it may be.

A request goes again only while no byte of a response has reached the client. An idempotent one (RFC 9110
section 9.2.2) may reach an app twice. Any other may go again only with proof that nobody has read it.
"""

from typing import TYPE_CHECKING

from balancer.connections.tcp_info import Taken, taken
from balancer.errors import FIRST_BYTE_TIMEOUT, MALFORMED_RESPONSE, UPSTREAM_CLOSED, Failure
from balancer.http.head import ResponseHead
from balancer.pools.retry_budget import RetryRules
from balancer.proxy.attempt import Attempt
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

# Failures of an attempt for which another upstream is asked, and what retries_total calls them.
REASONS: dict[Failure, str] = {
    UPSTREAM_CLOSED: "upstream_closed",
    FIRST_BYTE_TIMEOUT: "first_byte_timeout",
    MALFORMED_RESPONSE: "malformed_response",
}
# Of all requests of a worker together: what is kept for replay must not become its memory's problem.
MOST_KEPT = 64 << 20


class Kept:
    """How many bytes of request bodies a worker keeps for replay."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Resending:
    """Of one exchange at a time. While it `holds` anything, `end` must be called when the exchange is over,
    or a response has begun. `answer` is an upstream's own error answer, for when no better one comes."""

    __slots__ = ("_before", "_dropped", "_exchange", "_kept", "_pieces", "_size", "answer",
                 "holds")  # fmt: skip

    def __init__(self, exchange: "Exchange", kept: Kept) -> None:
        self._exchange = exchange
        self._kept = kept
        self._pieces: list[bytes] = []  # of the request's body, as they were written
        self._size = 0
        self._dropped = False  # it is too large to be kept
        self._before: Taken | None = None  # what the peer had taken before this request
        self.answer: tuple[ResponseHead, bytes, Upstream] | None = None
        self.holds = False

    def keep(self, pieces: list[bytes]) -> None:
        """These pieces of the body are being written to an upstream."""
        self.holds = True
        rules = self._rules
        if self._dropped or rules.max_attempts == 1:
            self._dropped = True
            return
        size = sum(map(len, pieces))
        if self._size + size > rules.replay_bytes or self._kept.bytes + size > MOST_KEPT:
            self.drop()
            return
        self._pieces += pieces
        self._size += size
        self._kept.bytes += size

    def take(self) -> list[bytes]:
        """What is to be written to the next upstream; it is kept anew when that happens."""
        pieces = self._pieces
        self._forget()
        return pieces

    def drop(self) -> None:
        """The body is kept no more, so the request cannot go again."""
        self._forget()
        self._dropped = True

    def end(self) -> None:
        """The exchange is over, or a response has begun."""
        self._forget()
        self._dropped = False
        self._before = None
        self.answer = None
        self.holds = False

    def set_aside(self, head: ResponseHead, body: bytes, upstream: Upstream) -> None:
        """The own error answer of `upstream`, whole: it is passed on if no better one comes."""
        self.holds = True
        self.answer = head, body, upstream

    def _forget(self) -> None:
        self._kept.bytes -= self._size
        self._size = 0
        self._pieces = []

    def begins_careful(self, attempt: Attempt) -> None:
        """A request that may not be read twice is about to be written on a connection that was idle."""
        self.holds = True
        self._before = taken(attempt.connection.transport.get_extra_info("socket"))

    def may_go(self, attempt: Attempt) -> bool:
        """Whether the request of this attempt, which has failed, may be sent once more."""
        exchange = self._exchange
        if exchange.response_begun or exchange.informed or self._dropped:
            return False
        return exchange.head.method in self._rules.methods or self._is_unread(attempt)

    def _is_unread(self, attempt: Attempt) -> bool:
        """Proof that the peer had closed before it read any of the request: its kernel has acknowledged
        nothing of it, and refuses all. A reset without a FIN before it proves nothing: an app may read, and
        then crash, and Linux acknowledges what was read up to 40 ms later, or never."""
        before = self._before
        if before is None or not attempt.reused or attempt.connection.was_reset:
            return False
        now = taken(attempt.connection.transport.get_extra_info("socket"))
        return now is not None and now.closed and now.acked == before.acked

    @property
    def _rules(self) -> RetryRules:
        return self._exchange.route.pool.retry
