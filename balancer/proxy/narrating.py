"""Makes the explanation of a request that is over, from its account and its exchange."""

from datetime import UTC, datetime
from typing import Final

from balancer.proxy.account import Account, Chosen, Ended, Wait
from balancer.proxy.cuts import cut
from balancer.proxy.state import CLIENT_GONE_STATUS, ExchangeState
from balancer.proxy.story import story
from balancer.spec.explained import (
    AttemptSeen,
    CandidateSeen,
    ChoiceSeen,
    Explanation,
    PassedOver,
    PinTaken,
    SplitTaken,
    StepSeen,
    WaitSeen,
)
from balancer.telemetry.columns import STICKY_RESULTS
from balancer.upstreams.upstream import Upstream

MOST_LISTED: Final = 24  # candidates of a choice, and others
LATE: Final = (
    "Nobody had asked for this request when it began: what was before its first trouble is known in part. "
    "With balancer explain --watch, or EXPLAIN__SAMPLE, the next one is explained from its beginning."
)
_LONGEST_DETAIL: Final = 256


def explanation(exchange: ExchangeState, account: Account, duration: int, wall: float) -> Explanation:
    """`duration` in ns; `wall`, the time of its end, in seconds since the epoch."""
    telling = _Telling(exchange, account, duration)
    split, choices = telling.split(), tuple(telling.choices())
    waits, attempts = tuple(telling.waits()), tuple(telling.attempts())
    steps = story(account.route, split, choices, waits, attempts)
    if account.not_again:
        text = f"not sent again: {account.not_again}"
        steps.append(StepSeen(at=duration / 1e6, kind="retry", text=text))
    steps.append(StepSeen(at=duration / 1e6, kind="end", text=telling.end()))
    head = exchange.head
    served = exchange.own_attempt.upstream.id if telling.is_sent else None
    tried = exchange.connecting.tried if telling.has_pool else ()
    failure = exchange.failure
    return Explanation(
        request_id=exchange.request_id.decode("latin-1"),
        why=account.why,
        began=_moment(wall - duration / 1e9),
        client=account.client,
        scheme=account.scheme,
        method=head.method.decode("latin-1")[:32],
        target=account.target,
        host=head.host[:256].decode("latin-1"),
        fields=account.fields,
        status=exchange.status,
        duration=duration / 1e6,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        upstream=served or (tried[-1].id if tried else None),
        pool=exchange.side.pool_name or None,
        route=account.route,
        split=split,
        pin=telling.pin(),
        choices=choices,
        waits=waits,
        attempts=attempts,
        not_again=account.not_again,
        trace_id=exchange.trace_id.decode("latin-1") or None,
        cut=None if failure is None else cut(exchange, account, failure),
        story=tuple(steps),
        notes=() if account.is_whole else (LATE,),
    )


def _moment(wall: float) -> str:
    text = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


class _Telling:
    """One exchange at its end. `is_sent`: the last attempt's request was written to its upstream."""

    __slots__ = ("_account", "_attempts", "_duration", "_exchange", "_started", "has_pool", "is_sent")

    def __init__(self, exchange: ExchangeState, account: Account, duration: int) -> None:
        self._exchange = exchange
        self._account = account
        self._duration = duration
        self._started = started = exchange.started_ns
        self.has_pool = not exchange.route.answers
        own = exchange.own_attempt
        self.is_sent = self.has_pool and own.started_ns >= started
        self._attempts = account.attempts
        if self.is_sent:
            account.settle_choice(own.upstream, own.started_ns)
            if not any(one.sent_ns == own.started_ns for one in self._attempts):
                self._attempts = [*self._attempts, self._last()]
        account.settle_choice(None, started)

    def _last(self) -> Ended:
        """The attempt that was the last one."""
        exchange, own = self._exchange, self._exchange.own_attempt
        answered = own.first_byte_ns >= 0
        failure = exchange.failure
        result = f"{exchange.status}" if answered or failure is None else failure.reason
        if exchange.status == CLIENT_GONE_STATUS and not answered:
            result = "client_gone"
        last = Ended(own.upstream, self._started + self._duration, result, "")
        last.sent_ns = own.started_ns
        last.reused = own.reused
        last.first_byte_ns = own.started_ns + own.first_byte_ns if answered else -1
        return last

    def _ms(self, at_ns: int) -> float:
        return max(0, at_ns - self._started) / 1e6

    def _ms_or_none(self, at_ns: int) -> float | None:
        return None if at_ns < 0 else self._ms(at_ns)

    # --- the side and the pin

    def split(self) -> SplitTaken | None:
        split = self._exchange.route.split
        if split is None:
            return None
        weights = {side.pool_name: weight for side, weight in zip(split.sides, split.weights, strict=True)}
        pool = self._exchange.side.pool_name
        note = ""
        if not weights.get(pool, 0):
            note = "its weight is 0: it keeps the users that it has"
        elif any(
            weight and not side.pool.serves for side, weight in zip(split.sides, split.weights, strict=True)
        ):
            note = "a side has no eligible upstream"
        return SplitTaken(pool=pool, key=split.key, weights=weights, note=note)

    def pin(self) -> PinTaken | None:
        exchange = self._exchange
        if not self.has_pool or exchange.side.pool.affinity is None:
            return None
        if exchange.head.pin_reader is not exchange.side.pool.affinity:
            return None  # it was answered before
        pinned = exchange.connecting.pinned
        if pinned is None:
            if exchange.head.pin:
                text = "the client's pin names no upstream of this pool"
                return PinTaken(result=self._sticky("invalid"), upstream=None, text=text)
            return PinTaken(result=self._sticky("new"), upstream=None, text="the client has no pin")
        chosen = [one.upstream for one in self._account.choices if one.upstream is not None]
        if chosen[:1] == [pinned]:
            text = f"the client is pinned to {pinned.id}"
            return PinTaken(result=self._sticky("hit"), upstream=pinned.id, text=text)
        accepts = exchange.side.pool.affinity.accepts(pinned)
        why = "it had no free slot" if accepts else _why_not(self._account.choices, pinned)
        text = f"the client is pinned to {pinned.id}, which could not take it: {why}"
        result = self._sticky("overflow" if accepts else "repinned")
        return PinTaken(result=result, upstream=pinned.id, text=text)

    def _sticky(self, expected: str) -> str:
        """As in the access log, if an upstream has answered."""
        exchange = self._exchange
        answered = self.is_sent and exchange.own_attempt.first_byte_ns >= 0 and exchange.failure is None
        return STICKY_RESULTS[exchange.sticky] if answered and exchange.side.is_sticky else expected

    # --- choices, waits, attempts

    def choices(self) -> list[ChoiceSeen]:
        return [self._choice(one) for one in self._account.choices]

    def _choice(self, chosen: Chosen) -> ChoiceSeen:
        seen, upstream = chosen.picture, chosen.upstream
        if seen is None:
            return ChoiceSeen(
                at=self._ms(chosen.at_ns),
                upstream=None if upstream is None else upstream.id,
                by=self._by(chosen),
                policy=self._exchange.side.pool.policy_name,
                panic=False,
                waiting=0,
                candidates=(),
                passed_over=(),
                left_out=0,
                note="the loads were not looked at",
            )
        loads = sorted(
            seen.loads[:MOST_LISTED] if upstream is None else seen.loads,
            key=lambda one: (one.upstream is not upstream, one.inflight / max(one.effective_weight, 1e-9)),
        )[:MOST_LISTED]
        candidates = [
            CandidateSeen(
                upstream=one.upstream.id,
                weight=one.weight,
                effective_weight=round(one.effective_weight, 3),
                inflight=one.inflight,
                elsewhere=None if one.elsewhere < 0 else one.elsewhere,
                limit=one.limit,
                state="tried" if one.is_tried else "full" if one.is_full else "free",
            )
            for one in loads
        ]
        others = [
            PassedOver(upstream=one.upstream.id, why=one.why, inflight=one.inflight)
            for one in seen.others[:MOST_LISTED]
        ]
        return ChoiceSeen(
            at=self._ms(chosen.at_ns),
            upstream=None if upstream is None else upstream.id,
            by=self._by(chosen),
            policy=seen.policy,
            panic=seen.panics,
            waiting=seen.waiting,
            candidates=tuple(candidates),
            passed_over=tuple(others),
            left_out=len(seen.loads) - len(candidates) + len(seen.others) - len(others),
            note="",
        )

    def _by(self, chosen: Chosen) -> str:
        upstream = chosen.upstream
        if upstream is None:
            return ""
        if upstream is self._exchange.connecting.pinned:
            return "pin"
        seen = chosen.picture
        if seen is not None and not any(one.upstream is upstream for one in seen.loads):
            return "probation" if upstream.on_probation else "backup"
        return "policy"

    def waits(self) -> list[WaitSeen]:
        waits = self._early_wait()
        return waits + [
            WaitSeen(
                what="queue" if one.upstream is None else "dial",
                at=self._ms(one.at_ns),
                duration=self._lasted(one),
                upstream=None if one.upstream is None else one.upstream.id,
                result=one.result or self._end_of(one),
            )
            for one in self._account.waits
        ]

    def _early_wait(self) -> list[WaitSeen]:
        """In the queue, before the account began."""
        waits = self._exchange.connecting.waits
        if self._account.is_whole or not self.has_pool or waits is None:
            return []
        known = [one.ended_ns - one.at_ns for one in self._account.waits if one.upstream is None]
        early = waits.queue_ns - sum(known, 0)
        if early <= 0:
            return []
        return [WaitSeen(what="queue", at=0.0, duration=early / 1e6, upstream=None, result="")]

    def _lasted(self, wait: Wait) -> float:
        return self._ms(self._end_ns(wait)) - self._ms(wait.at_ns)

    def _end_ns(self, wait: Wait) -> int:
        """A wait for a connection that was the last one ended when the request was sent."""
        if wait.ended_ns >= 0:
            return wait.ended_ns
        for one in self._attempts:
            if one.upstream is wait.upstream and one.sent_ns >= wait.at_ns:
                return one.sent_ns
        return self._started + self._duration

    def _end_of(self, wait: Wait) -> str:
        sent = any(one.upstream is wait.upstream and one.sent_ns >= wait.at_ns for one in self._attempts)
        return "connected" if sent else "given up"

    def attempts(self) -> list[AttemptSeen]:
        chosen = {id(one.upstream): self._ms(one.at_ns) for one in reversed(self._account.choices)}
        return [
            AttemptSeen(
                upstream=one.upstream.id,
                at=chosen.get(id(one.upstream)),
                sent=self._ms_or_none(one.sent_ns),
                reused=one.reused if one.sent_ns >= 0 else None,
                first_byte=self._ms_or_none(one.first_byte_ns),
                ended=self._ms(one.ended_ns),
                result=one.result,
                detail=one.detail[:_LONGEST_DETAIL],
            )
            for one in self._attempts
        ]

    def end(self) -> str:
        """The last sentence of the story."""
        exchange, account, failure = self._exchange, self._account, self._exchange.failure
        if exchange.status == CLIENT_GONE_STATUS:
            return "the client left"
        if failure is None:
            return f"the client got {exchange.status}, whole"
        why = account.detail or failure.text
        if account.was_begun:
            return f"the response broke off: {failure.reason}, {why}"
        return f"the balancer answered {exchange.status} itself: {failure.reason}, {why}"


def _why_not(choices: list[Chosen], upstream: Upstream) -> str:
    """Why it was no candidate at the first choice."""
    for one in choices[:1]:
        if one.picture is not None:
            for other in one.picture.others:
                if other.upstream is upstream:
                    return other.why
    return "it does not serve now"
