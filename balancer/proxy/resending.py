"""Sends the request of an exchange again if `retrying` decides so, and keeps what is needed for it.

Entered when an attempt has failed or an upstream has answered with an error; it hands over to `connecting`,
which answers the exchange.
"""

from collections.abc import Sequence

from balancer.errors import UPSTREAM_CLOSED, Failure, Outcome
from balancer.http.response_head import ResponseHead
from balancer.proxy.account import Ended
from balancer.proxy.attempt import Attempt
from balancer.proxy.connecting import FailedAttempt, RefusedAttempt
from balancer.proxy.replay import Replay
from balancer.proxy.retrying import Sent, Step, is_found_dead, next_step, why_not_again
from balancer.proxy.state import ExchangeState
from balancer.upstreams.fault import Fault, proof
from balancer.upstreams.upstream import Upstream


def keep(exchange: ExchangeState, pieces: Sequence[bytes]) -> None:
    """Keep these pieces of the body, which are being written to an upstream."""
    exchange.holds = True
    replay = exchange.replay
    if replay is None:
        replay = exchange.replay = Replay(exchange.context.replay_memory)
    rules = exchange.side.retry
    if rules.max_attempts == 1:
        replay.drop()
    else:
        replay.keep(pieces, rules.replay_bytes)


def settle(exchange: ExchangeState) -> None:
    """A response has begun, or the exchange is over: nothing is sent again, and it is now known whose fault
    the failed attempts were."""
    if exchange.replay is not None:
        exchange.replay.end()
    if exchange.unjudged:
        _judge(exchange)
    exchange.refused = False
    exchange.own_answer = None
    exchange.edits = None
    exchange.mark = b""
    exchange.holds = exchange.account is not None


def asks_another(
    exchange: ExchangeState, attempt: Attempt, head: ResponseHead, body: bytes, last: bool, now: int
) -> bool:
    """After an error answer: send the request to another upstream, if the rules allow it. Returns whether
    they do. The client gets this answer if no better one follows."""
    if head.status not in exchange.side.retry.statuses:
        return False
    if _next_step(exchange, head.status, sent_of(exchange, attempt), now) is not Step.ANOTHER:
        return False
    explain_end(exchange, attempt, str(head.status), "", now)
    upstream = exchange.connecting.next_upstream(now, "status")
    if upstream is None:
        return False
    exchange.holds = exchange.refused = True
    exchange.connecting.refused_attempts += (RefusedAttempt(attempt.upstream, head.status, now),)
    if exchange.trace is not None:
        exchange.trace.end(head.status, "", attempt.first_byte_ns, now)
    if last:
        exchange.own_answer = head, body, attempt.upstream
    exchange.attempt = None
    attempt.end(attempt.outcome, now, None if last and exchange.request_whole else "not_reusable")
    _go(exchange, upstream, now)
    return True


def goes_again(exchange: ExchangeState, attempt: Attempt, failure: Failure, detail: str) -> bool:
    """End an attempt that failed or took too long. Returns whether the request is sent again, now or when
    there is a slot for it."""
    now = exchange.context.monotonic_ns()
    connecting = exchange.connecting
    explain_end(exchange, attempt, failure.reason, detail, now)
    sent = sent_of(exchange, attempt, failure, now)
    failed = FailedAttempt(attempt.upstream, failure, detail, ended_ns=now)
    if exchange.trace is not None:
        status = exchange.status if exchange.response_begun else 0
        exchange.trace.end(status, failure.reason, attempt.first_byte_ns, now)
    if not sent.stale and failure.outcome is not Outcome.CANCELLED:
        failed = failed._replace(
            history=attempt.upstream.history,
            outcome=failure.outcome,
            began_ns=attempt.started_ns,
            whole=exchange.request_whole,
        )
        exchange.unjudged += (failed,)
        exchange.holds = True
    connecting.failed_attempts += (failed,)
    exchange.let_go(failed.outcome, "failed")
    step = _next_step(exchange, failure, sent, now)
    if step is Step.FRESH:
        _take_back(exchange)
        connecting.retry_fresh(attempt.upstream, now)
        return True
    if step is Step.ANOTHER:
        upstream = connecting.next_upstream(now, failure.reason)
        if upstream is not None:
            _go(exchange, upstream, now)
            return True
    elif step is Step.WAIT and connecting.wait_for_another(now, failure.reason, failure, detail):
        _take_back(exchange)
        return True
    return False


def explain_end(exchange: ExchangeState, attempt: Attempt, result: str, detail: str, now: int) -> None:
    """For the explanation of the request: this attempt has ended so."""
    account = exchange.troubled()
    if account is not None:
        ended = Ended(attempt.upstream, now, result, detail)
        ended.sent_ns = attempt.started_ns
        ended.reused = attempt.reused
        if attempt.first_byte_ns >= 0:
            ended.first_byte_ns = attempt.started_ns + attempt.first_byte_ns
        account.attempt_ended(ended)


def sent_of(exchange: ExchangeState, attempt: Attempt, failure: Failure | None = None, now: int = 0) -> Sent:
    """What is known about the request of this attempt, which failed with `failure` at `now`, or was
    answered."""
    connecting = exchange.connecting
    pool = exchange.side.pool
    connection = attempt.connection
    return Sent(
        attempts_left=connecting.may_go_on(),
        repeatable=exchange.head.method in exchange.side.retry.methods or connection.proves_unread(),
        kept=exchange.replay is None or not exchange.replay.dropped,
        answered=exchange.response_begun or exchange.informed,
        upgrade_refused=exchange.head.websocket and connection.closed,
        # An upstream may close an idle connection just as we take it.
        stale=failure is UPSTREAM_CLOSED and attempt.reused and not exchange.informed,
        dead=failure is not None
        and is_found_dead(attempt.upstream, attempt.started_ns, now, pool.checked_within_ns),
        in_vain=any(one.failure.in_vain for one in connecting.failed_attempts),
    )


def _next_step(exchange: ExchangeState, cause: Failure | int, sent: Sent, now: int) -> Step:
    pool = exchange.side.pool
    connecting = exchange.connecting
    has_budget = pool.retry_budget.has_one(now)
    step = next_step(cause, sent, exchange.side.retry, pool.room(connecting.tried), has_budget)
    if step is Step.OVER_BUDGET:
        connecting.over_budget()
    if exchange.account is not None:
        exchange.account.not_again = why_not_again(step, cause, sent, exchange.side.retry)
    return step


def _go(exchange: ExchangeState, upstream: Upstream, now: int) -> None:
    """Send to `upstream` what has arrived of the request so far, with the full timeout again."""
    exchange.begin_anew(now)
    _take_back(exchange)
    exchange.connecting.connect(upstream, now)


def _take_back(exchange: ExchangeState) -> None:
    """Mark what was written as unsent again, and forget the last upstream's back-pressure."""
    exchange.upstream_paused = False
    exchange.unsent = () if exchange.replay is None else tuple(exchange.replay.take())


def _judge(exchange: ExchangeState) -> None:
    """Another upstream has answered, or none will: tell the pool what the failed attempts prove."""
    failed, exchange.unjudged = exchange.unjudged, ()
    answering = exchange.attempt
    answered = answering is not None and answering.outcome is Outcome.SUCCESS
    sent_to = len(failed) + exchange.refused + (answering is not None)
    asker = exchange.connecting
    for one in failed:
        if one.history is not None:
            proven = proof(answered=answered, sent_to=sent_to, whole=one.whole)
            fault = Fault(one.outcome, proven, asker.network(), asker.holds(one.upstream))
            exchange.side.pool.judge(one.upstream, one.history, fault, one.began_ns)
