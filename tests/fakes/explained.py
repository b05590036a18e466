"""Explanations of requests, as workers send them."""

from collections.abc import Sequence
from typing import Any

from balancer.admin.explained import Summary, Watched, Wish
from balancer.runtime.explanations import summary
from balancer.spec.explained import (
    AttemptSeen,
    CandidateSeen,
    ChoiceSeen,
    Cut,
    EarlierRoute,
    Explanation,
    PassedOver,
    PinTaken,
    RouteTaken,
    SplitTaken,
    StepSeen,
    WaitSeen,
)

ROUTE = RouteTaken(
    name="web",
    number=2,
    conditions=("every request",),
    earlier=(EarlierRoute(name="api", unmet=("path below /api/",)),),
    left_out=0,
    note="",
)
CHOICE = ChoiceSeen(
    at=0.0,
    upstream="app1:8000",
    by="policy",
    policy="least_connections",
    panic=False,
    waiting=0,
    candidates=(
        CandidateSeen(
            upstream="app1:8000",
            weight=2,
            effective_weight=0.5,
            inflight=3,
            elsewhere=None,
            limit=8,
            state="free",
        ),
    ),
    passed_over=(PassedOver(upstream="app2:8000", why="draining", inflight=1),),
    left_out=0,
    note="",
)


def explanation(**changes: Any) -> Explanation:
    """Of a request that was refused by its upstream."""
    values: dict[str, Any] = {
        "request_id": "r1",
        "why": "failure",
        "began": "2026-02-01T12:00:00.000Z",
        "client": "192.0.2.1",
        "scheme": "http",
        "method": "GET",
        "target": "/x?token=***",
        "host": "shop.example",
        "fields": (("Cookie", "a=***"),),
        "status": 502,
        "duration": 4.5,
        "request_bytes": 0,
        "response_bytes": 90,
        "upstream": "app1:8000",
        "pool": "web",
        "route": ROUTE,
        "split": SplitTaken(pool="web", key="cookie", weights={"web": 90, "new": 10}, note=""),
        "pin": PinTaken(result="new", upstream=None, text="the client has no pin"),
        "choices": (CHOICE,),
        "waits": (WaitSeen(what="dial", at=0.0, duration=4.0, upstream="app1:8000", result="refused"),),
        "attempts": (
            AttemptSeen(
                upstream="app1:8000",
                at=0.0,
                sent=None,
                reused=None,
                first_byte=None,
                ended=4.0,
                result="connect_refused",
                detail="connection refused",
            ),
        ),
        "not_again": "no other upstream was left, or had room",
        "trace_id": None,
        "cut": Cut(reason="connect_refused", source="upstream", detail="refused", phase="dialling", limit=""),
        "story": (StepSeen(at=0.0, kind="route", text="took route web: every request"),),
        "notes": (),
    }
    return Explanation(**{**values, **changes})


class FakeExplanations:
    """What the test puts in it."""

    def __init__(self, *kept: Explanation) -> None:
        self.kept = list(kept)
        self.wishes: list[Wish] = []
        self.left_out = 0

    def about(self, request_id: str) -> Sequence[Explanation]:
        return [one for one in self.kept if one.request_id == request_id]

    def recent(self) -> Sequence[Summary]:
        return [summary(one) for one in self.kept]

    def watched(self) -> Watched:
        last = self.wishes[-1] if self.wishes else Wish(0.0)
        return Watched(str(last) if last.seconds else "", last.seconds, 0.0, False)

    def wish(self, wish: Wish) -> None:
        self.wishes.append(wish)
