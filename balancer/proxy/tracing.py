"""Traces (L5): where an exchange stands in its trace, what upstreams are told of that, what is recorded.

Each attempt of an exchange that is recorded is a span of its own, which becomes the parent of the app's.
"""

from random import Random
from typing import Final

from balancer.http.forwarding import Peer
from balancer.http.head import HEAD_END
from balancer.http.request_head import RequestHead
from balancer.http.trace_context import SAMPLED, TraceContext
from balancer.spec.traced import TracedRequest
from balancer.upstreams.upstream import Upstream

_HALF: Final = (1 << 64) - 1  # OpenTelemetry's TraceIdRatioBased looks at this part of a trace id
MAX_BATCH: Final = 2_000  # requests


class TracedAttempt:
    """One attempt. It began with a dial, if there was one, and was sent at `sent_ns`, 0 if it never was.
    `status` is that of its response, 0 for none; `failure` is a reason, "" for none. Times are in ns on the
    monotonic clock, `ended_ns` is 0 while it runs; `first_byte_ns` counts from `sent_ns`, -1 for none."""

    __slots__ = ("ended_ns", "failure", "first_byte_ns", "host", "reused", "sent_ns", "span_id",
                 "started_ns", "status", "upstream")  # fmt: skip

    def __init__(self, span_id: bytes, upstream: Upstream, started_ns: int) -> None:
        self.span_id = span_id
        self.upstream = upstream
        self.host = upstream.host  # now: it may get another address
        self.reused = False
        self.started_ns = started_ns
        self.sent_ns = 0
        self.first_byte_ns = -1
        self.ended_ns = 0
        self.status = 0
        self.failure = ""


class ExchangeTrace:
    """The spans of one exchange. `parent` is what its client said; `span_id` is b"" for none."""

    __slots__ = ("_dials", "_random", "attempts", "parent", "span_id")

    def __init__(self, parent: TraceContext, random: Random) -> None:
        self._random = random
        self.parent = parent
        self.span_id = _span_id(random)
        self.attempts: list[TracedAttempt] = []
        self._dials: list[tuple[Upstream, int]] = []  # those under way, and when they began

    def dial(self, upstream: Upstream, now_ns: int) -> None:
        """A dial begins."""
        self._dials.append((upstream, now_ns))

    def dial_failed(self, upstream: Upstream, failure: str, now_ns: int) -> None:
        """The dial to this upstream has failed for a reason."""
        attempt = self._attempt(upstream, now_ns)
        attempt.failure = failure
        attempt.ended_ns = now_ns

    def begin(self, upstream: Upstream, reused: bool, now_ns: int) -> bytes:
        """An attempt is being sent. Returns the end of its head."""
        attempt = self._attempt(upstream, now_ns)
        attempt.reused = reused
        attempt.sent_ns = now_ns
        self._dials.clear()  # they lost a race
        parent = self.parent
        return TraceContext(parent.trace_id, attempt.span_id, parent.flags, parent.state).lines() + HEAD_END

    def end(self, status: int, failure: str, first_byte_ns: int, now_ns: int) -> None:
        """The attempt that was sent last has ended, with a response of this status or without one (0). If it
        had ended before, the dials that are under way are given up. `failure` is a reason, "" for none;
        `first_byte_ns` as in `TracedAttempt`."""
        if self.attempts and not self.attempts[-1].ended_ns:
            last = self.attempts[-1]
            last.status = status
            last.failure = failure
            last.first_byte_ns = first_byte_ns
            last.ended_ns = now_ns
        for upstream, _ in self._dials.copy():
            self.dial_failed(upstream, failure, now_ns)

    def _attempt(self, upstream: Upstream, now_ns: int) -> TracedAttempt:
        """A new one, which began with the dial to this upstream, or begins now."""
        began = now_ns
        for at, (dialled, since) in enumerate(self._dials):
            if dialled is upstream:
                began = since
                del self._dials[at]
                break
        attempt = TracedAttempt(_span_id(self._random), upstream, began)
        self.attempts.append(attempt)
        return attempt


class Tracing:
    """What a worker needs to trace. `sample` is the share of the traces begun here that are recorded, 0.0 to
    1.0. Unless it `believes_all`, only trusted proxies are believed what trace a request belongs to."""

    __slots__ = ("_believes_all", "_bound", "_random", "_records", "dropped")

    def __init__(self, sample: float, random: Random, believes_all: bool = True) -> None:
        self._random = random
        self._bound = round(sample * (_HALF + 1))
        self._believes_all = believes_all
        self._records: list[TracedRequest] = []
        self.dropped = 0  # spans, since the last `take`

    def position(self, head: RequestHead, peer: Peer) -> TraceContext:
        """Where a request stands: its client's position, or that of a trace that begins here."""
        trace = head.trace
        if trace is not None and (self._believes_all or peer.trusted):
            return trace
        number = self._random.getrandbits(128) or 1
        return TraceContext(b"%032x" % number, b"", SAMPLED if number & _HALF < self._bound else 0)

    def recorded(self, position: TraceContext) -> ExchangeTrace:
        """The spans of an exchange at this position, which is sampled."""
        return ExchangeTrace(position, self._random)

    def passed_on(self, position: TraceContext) -> bytes:
        """The end of a head without a span of ours: its parent is that of the client. A trace begun here
        still has an id, so that an app does not sample it."""
        if not position.span_id:
            position.span_id = _span_id(self._random)
        return position.lines() + HEAD_END

    def add(self, record: TracedRequest) -> None:
        """An exchange has ended; if there are too many, its spans are only counted."""
        if len(self._records) < MAX_BATCH:
            self._records.append(record)
        else:
            self.dropped += 1 + len(record.attempts)

    def take(self) -> list[TracedRequest]:
        """The records since the last call."""
        records = self._records
        if records:
            self._records = []
        return records


def _span_id(random: Random) -> bytes:
    return b"%016x" % (random.getrandbits(64) or 1)
