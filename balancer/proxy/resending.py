"""What is kept of an exchange so that its request can be sent once more, and whether it is.

A request goes again only while no byte of a response has reached the client. An idempotent one (RFC 9110
section 9.2.2) may reach an app twice. Any other may go again only with proof that nobody has read it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from balancer.connections.tcp_info import Taken, taken
from balancer.errors import (
    FIRST_BYTE_TIMEOUT,
    MALFORMED_RESPONSE,
    TOTAL_TIMEOUT,
    UPSTREAM_CLOSED,
    UPSTREAM_UNRESPONSIVE,
    Failure,
    Outcome,
)
from balancer.http.head import ResponseHead
from balancer.pools.retry_budget import RetryRules
from balancer.proxy.attempt import Attempt
from balancer.upstreams.conduct import Conduct
from balancer.upstreams.fault import Fault, proof
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

# Failures of an attempt for which another upstream is asked, and what retries_total calls them.
_REASONS: dict[Failure, str] = {
    UPSTREAM_CLOSED: "upstream_closed",
    FIRST_BYTE_TIMEOUT: "first_byte_timeout",
    MALFORMED_RESPONSE: "malformed_response",
    UPSTREAM_UNRESPONSIVE: "upstream_unresponsive",
}
# After such a failure a request may be what its upstreams are busy with: it is not sent on a second time.
_IN_VAIN = (FIRST_BYTE_TIMEOUT, UPSTREAM_UNRESPONSIVE)
# What an attempt's failure is called where it ends; others are Outcome.FAILED.
_OUTCOMES = {
    FIRST_BYTE_TIMEOUT: Outcome.TIMED_OUT,
    TOTAL_TIMEOUT: Outcome.TIMED_OUT,
    UPSTREAM_UNRESPONSIVE: Outcome.CANCELLED,  # its checks have ejected it already
}
# An attempt that failed with a connection: its upstream and that one's conduct then, how it ended, when it
# began, and whether the client had sent all of the request.
Failed: TypeAlias = tuple[Upstream, Conduct, Outcome, int, bool]

# Of all requests of a worker together: what is kept for replay must not become its memory's problem.
MOST_KEPT = 64 << 20
_NOTHING: list[bytes] = []  # what most keep, and nobody changes


def is_found_dead(upstream: Upstream, sent_ns: int, now_ns: int, checked_within_ns: int) -> bool:
    """Whether `upstream`, which has not answered what was sent to it at `sent_ns`, is known to be dead, or
    nothing else is known of it.

    | | |
    |---|---|
    | it has answered another request in the second half of the time | no |
    | it is known to be silent, or an outlier | yes |
    | it has answered no request for so long that checks would have found it silent: it answers them | no |
    | the same, and there are no checks, or they need more time than that | yes |

    One that answers its checks, if only with errors, is alive, and so may its slow pages be. Checks take up
    to `checked_within_ns` to eject who answers nothing, 0 where there are none. What it answered in the
    first half may have been its last: so it is for what it had in work when it died.
    """
    silent_ns = now_ns - max(upstream.answered_ns, sent_ns)
    if 2 * silent_ns < now_ns - sent_ns:
        return False
    if upstream.silent_since_ns or upstream.is_outlier():
        return True
    return not checked_within_ns or silent_ns < checked_within_ns


class Kept:
    """How many bytes of request bodies a worker keeps for replay."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Resending:
    """Of one exchange at a time. While it `holds` anything, `end` must be called when the exchange is over,
    or a response has begun. `answer` is an upstream's own error answer, for when no better one comes."""

    __slots__ = ("_before", "_dropped", "_exchange", "_failed", "_kept", "_pieces", "_refused", "_size",
                 "answer", "holds")  # fmt: skip

    def __init__(self, exchange: "Exchange", kept: Kept) -> None:
        self._exchange = exchange
        self._kept = kept
        self._pieces = _NOTHING  # of the request's body, as they were written
        self._size = 0
        self._dropped = False  # it is too large to be kept
        self._before: Taken | None = None  # what the peer had taken before this request
        self._failed: tuple[Failed, ...] = ()  # the attempts that failed with a connection
        self._refused = False  # an upstream answered with an error, for which another one was asked
        self.answer: tuple[ResponseHead, bytes, Upstream] | None = None
        self.holds = False

    def keep(self, pieces: Sequence[bytes]) -> None:
        """These pieces of the body are being written to an upstream."""
        self.holds = True
        rules = self._rules
        if self._dropped or rules.max_attempts == 1:
            self._dropped = True
            return
        if not self._pieces:
            self._forget()  # what was taken for the next upstream is now among these
            self._pieces = []
        size = sum(map(len, pieces))
        if self._size + size > rules.replay_bytes or self._kept.bytes + size > MOST_KEPT:
            self.drop()
            return
        self._pieces += pieces
        self._size += size
        self._kept.bytes += size

    def _take(self) -> list[bytes]:
        """What is to be written to the next upstream: kept anew when that happens, and counted as kept until
        then. How well the one before took it matters no more."""
        self._exchange.upstream_paused = False
        pieces, self._pieces = self._pieces, _NOTHING
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
        if self._failed:
            self._judge()
        self._refused = False
        self.answer = None
        self.holds = False

    def _judge(self) -> None:
        """Whose fault it was that attempts failed: now another upstream has answered, or none will."""
        exchange = self._exchange
        failed, self._failed = self._failed, ()
        answering = exchange.attempt
        answered = answering is not None and answering.outcome is Outcome.SUCCESS
        sent_to = len(failed) + self._refused + (answering is not None)
        asker = exchange.connecting
        for upstream, conduct, outcome, began_ns, whole in failed:
            proven = proof(answered=answered, sent_to=sent_to, whole=whole)
            fault = Fault(outcome, proven, asker.network(), asker.holds(upstream))
            exchange.route.pool.judge(upstream, conduct, fault, began_ns)

    def _set_aside(self, head: ResponseHead, body: bytes, upstream: Upstream) -> None:
        """The own error answer of `upstream`, whole: it is passed on if no better one comes."""
        self.answer = head, body, upstream

    def _forget(self) -> None:
        self._kept.bytes -= self._size
        self._size = 0
        self._pieces = _NOTHING

    def begins_careful(self, attempt: Attempt) -> None:
        """A request that may not be read twice is about to be written on a connection that was idle."""
        self.holds = True
        self._before = taken(attempt.connection.transport.get_extra_info("socket"))

    # --- the exchange's questions, after an attempt

    def leaves(self, attempt: Attempt) -> bool:
        """Whether this attempt is given up, as its upstream has been silent for as long as its checks failed.

        A request that can go elsewhere does so, but not twice: then it may be what silences them. Any other
        fails if it came later than the check that was the first to fail: nobody has begun to work on it. One
        that was there before may be what the app is working on, and keeps its time.
        """
        if self._has_waited_in_vain():
            return False
        if self._may_go(attempt) and self._exchange.connecting.may_go_on():
            return True
        return attempt.started_ns >= attempt.upstream.silent_since_ns

    def after_answer(self, head: ResponseHead, body: bytes, last: bool, now: int) -> bool:
        """An upstream answered with an error: whether the request goes to another one instead of this
        answer to the client."""
        exchange = self._exchange
        attempt = exchange.attempt
        assert attempt is not None
        if head.status not in self._rules.statuses or not self._may_go(attempt):
            return False
        upstream = exchange.connecting.another(now, "status")
        if upstream is None:
            return False
        self.holds = self._refused = True
        if last:
            self._set_aside(head, body, attempt.upstream)
        exchange.attempt = None
        attempt.end(attempt.outcome, now, None if last and exchange.request_whole else "not_reusable")
        self._go(upstream, now)
        return True

    def after_failure(self, attempt: Attempt, failure: Failure, detail: str) -> bool:
        """The attempt failed, or took too long, and ends here: whether the request goes out once more, now or
        when there is a place for it."""
        exchange = self._exchange
        connecting = exchange.connecting
        # An upstream may close an idle connection just as we take it. That is no failure of its.
        stale = failure is UPSTREAM_CLOSED and attempt.reused and not exchange.informed
        may_go = self._may_go(attempt) and (failure is not FIRST_BYTE_TIMEOUT or self._found_dead(attempt))
        connecting.missed(attempt.upstream, failure, detail)
        outcome = Outcome.CANCELLED if stale else _OUTCOMES.get(failure, Outcome.FAILED)
        if outcome is not Outcome.CANCELLED:
            failed = attempt.upstream
            whole = exchange.request_whole
            self._failed += ((failed, failed.conduct, outcome, attempt.started_ns, whole),)
            self.holds = True
        exchange.let_go(outcome, "failed")
        reason = _REASONS.get(failure)
        if not may_go or reason is None:
            return False
        now = exchange.proxy.monotonic_ns()
        if stale and connecting.may_go_on():
            exchange.unsent = tuple(self._take())
            connecting.again_fresh(attempt.upstream, now)
        elif (upstream := connecting.another(now, reason)) is not None:
            self._go(upstream, now)
        elif connecting.awaits_another(now, reason, failure, detail):
            exchange.unsent = tuple(self._take())
        else:
            return False
        return True

    def _go(self, upstream: Upstream, now: int) -> None:
        """The request goes to `upstream`, as far as it has come, and has as much time as before."""
        exchange = self._exchange
        exchange.begin_anew(now)
        exchange.unsent = tuple(self._take())
        exchange.connecting.proceed(upstream, now)

    def _may_go(self, attempt: Attempt) -> bool:
        """Whether the request of this attempt, which has failed, may be sent once more."""
        exchange = self._exchange
        if exchange.response_begun or exchange.informed or self._dropped:
            return False
        if exchange.head.websocket and attempt.connection.closed:
            return False  # an app may close on an upgrade that it does not serve, and so would all the others
        return exchange.head.method in self._rules.methods or self._is_unread(attempt)

    def _found_dead(self, attempt: Attempt) -> bool:
        """Whether it is the upstream that is late rather than the request: a page that takes longer than
        FIRST_BYTE must not be worked on by one upstream after the other. So twice is enough, too."""
        if self._has_waited_in_vain():
            return False
        now = self._exchange.proxy.monotonic_ns()
        checked_within_ns = self._exchange.route.pool.checked_within_ns
        return is_found_dead(attempt.upstream, attempt.started_ns, now, checked_within_ns)

    def _has_waited_in_vain(self) -> bool:
        """Whether it has been sent on once already from an upstream that did not answer it."""
        return any(failure in _IN_VAIN for _, failure, _ in self._exchange.connecting.misses)

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
