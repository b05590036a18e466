"""Where a worker records how its exchanges ended: the access log, and the errors that were answered here."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections import deque
from collections.abc import Callable
from typing import Final

from balancer.clock import Clock
from balancer.errors import FAILURES, FIRST_BYTE_TIMEOUT, NO_UPSTREAM, WANT_OF_A_SLOT, Failure
from balancer.http.forwarding import Peer
from balancer.messages import FailureRecord
from balancer.pools.picture import picture
from balancer.proxy.failure_record import (
    FailureNote,
    exchange_failure,
    late_in_words,
    refusal_failure,
)
from balancer.proxy.narrating import explanation
from balancer.proxy.record import describe, describe_refusal
from balancer.proxy.state import CLIENT_GONE_STATUS, ExchangeState
from balancer.proxy.traced import traced
from balancer.proxy.tracing import ExchangeTrace
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.columns import WORKER_LOCAL_RESPONSES

# Errors kept for the admin API, per worker; they are sent to the supervisor four times a second.
_FAILURES_KEPT: Final = 200
_WARN_EVERY_NS: Final = 60_000_000_000
_WITHOUT_ANY: Final = WANT_OF_A_SLOT | {NO_UPSTREAM.reason}
_LOCAL_COLUMN: Final[dict[str, int]] = {
    failure.reason: WORKER_LOCAL_RESPONSES + column for column, failure in enumerate(FAILURES)
}


class Journal:
    """If `access_log` is not `enabled`, `exchange_ended` need not be called."""

    __slots__ = ("_clock", "_failures", "_warn", "_warned", "_worker_cells", "access_log")

    def __init__(
        self,
        access_log: AccessLog,
        worker_cells: memoryview[int],
        clock: Clock,
        warn: Callable[[str, str], object],
    ) -> None:
        """`warn` logs for the operator; its second argument is a key that all workers together log once."""
        self.access_log = access_log
        self._worker_cells = worker_cells
        self._clock = clock
        self._warn = warn
        self._warned = -1  # the last minute in which a first-byte timeout was logged
        self._failures: deque[FailureNote] = deque(maxlen=_FAILURES_KEPT)

    def exchange_ended(self, exchange: ExchangeState, duration: int) -> None:
        """`duration` in ns."""
        log = self.access_log
        entry = log.begin(log.is_sample and _had_trouble(exchange))
        if entry is not None:
            describe(entry, exchange, duration, self._clock.wall())
            log.add(entry)

    def traced(self, exchange: ExchangeState, trace: ExchangeTrace, duration: int) -> None:
        """An exchange of which spans are recorded has ended; `duration` in ns."""
        tracing = exchange.context.tracing
        if tracing is not None:
            tracing.add(traced(exchange, trace, duration, self._clock.wall()))

    def explain(self, exchange: ExchangeState, duration: int) -> None:
        """Keep the explanation of an exchange that is over. `duration` in ns."""
        account, exchange.account = exchange.account, None
        exchange.holds = False
        if account is not None:
            context = exchange.context
            try:
                context.explaining.keep(explanation(exchange, account, duration, self._clock.wall()))
            except Exception as error:  # it must not cost the request
                context.report(error)

    def exchange_failed(self, exchange: ExchangeState, failure: Failure, detail: str) -> None:
        """An error was answered here, or a response was reset here."""
        self._count(failure)
        self._failures.append(exchange_failure(exchange, failure, detail, self._clock.wall()))
        account = exchange.troubled()
        if account is None:
            exchange.context.explaining.left_out += 1
        else:
            account.fail(detail, exchange.response_begun)
            if failure.reason in _WITHOUT_ANY and not account.saw:
                # It was refused at its first choice: now.
                now = self._clock.monotonic_ns()
                account.look(picture(exchange.side.pool, exchange.connecting.tried, now))
                account.chose(None, now)
        if failure is FIRST_BYTE_TIMEOUT:
            minute = self._clock.monotonic_ns() // _WARN_EVERY_NS
            if minute != self._warned:
                self._warned = minute
                self._warn(late_in_words(exchange, detail), f"first-byte timeout, minute {minute}")

    def refused(self, peer: Peer, failure: Failure, detail: str) -> None:
        """A request that did not become an exchange was answered here."""
        self._count(failure)
        wall = self._clock.wall()
        self._failures.append(refusal_failure(peer, failure, detail, wall))
        entry = self.access_log.begin(failure.status >= 500) if self.access_log.enabled else None
        if entry is not None:
            describe_refusal(entry, peer, failure, wall)
            self.access_log.add(entry)

    def take_failures(self) -> list[FailureRecord]:
        """The newest errors since the last call, oldest first."""
        failures = [note.in_words() for note in self._failures]
        self._failures.clear()
        return failures

    def _count(self, failure: Failure) -> None:
        self._worker_cells[_LOCAL_COLUMN[failure.reason]] += 1


def _had_trouble(exchange: ExchangeState) -> bool:
    """Whether it got 5xx, broke off, was sent again, or its client left before the response."""
    failure = exchange.failure
    return (
        exchange.status >= 500
        or exchange.connecting.attempts > 1
        or (failure is not None and failure.status >= 500)
        or (exchange.status == CLIENT_GONE_STATUS and not exchange.response_begun)
    )
