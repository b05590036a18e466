"""What is known of an error that no worker has explained (L7): there were too many in that second."""

from typing import Final

from balancer.admin.view import moment
from balancer.messages import FailureRecord
from balancer.proxy.cuts import LIMITS
from balancer.spec.explained import AttemptSeen, Cut, Explanation, RouteTaken, StepSeen

NOTE: Final = (
    "Its worker had explained so many requests in that second that of this one there is no more than in "
    "/api/failures: the times of its attempts, its choices and its duration are not known."
)


def explained_failure(record: FailureRecord) -> Explanation:
    """The error as an explanation."""
    tried = [f"{one.upstream} failed: {one.failure}" for one in record.attempts]
    end = f"the balancer answered {record.status} itself: {record.reason}, {record.detail}"
    route = RouteTaken(
        name=record.route or "", number=0, conditions=(), earlier=(), left_out=0, note="not looked at"
    )
    return Explanation(
        request_id=record.request_id or "",
        why="failure",
        began=moment(record.time),
        client=record.client,
        scheme="",
        method=record.method or "",
        target=record.target or "",
        host=record.host or "",
        fields=(),
        status=record.status,
        duration=0.0,
        request_bytes=0,
        response_bytes=0,
        upstream=record.attempts[-1].upstream if record.attempts else None,
        pool=record.pool or None,
        route=route,
        split=None,
        pin=None,
        choices=(),
        waits=(),
        attempts=tuple(
            AttemptSeen(
                upstream=one.upstream,
                at=None,
                sent=None,
                reused=None,
                first_byte=None,
                ended=None,
                result=one.failure,
                detail=one.detail,
            )
            for one in record.attempts
        ),
        not_again="",
        cut=Cut(
            reason=record.reason,
            source=record.source,
            detail=record.detail,
            phase="",
            limit=LIMITS.get(record.reason, ""),
        ),
        trace_id=None,
        story=tuple(StepSeen(at=0.0, kind="end", text=text) for text in [*tried, end]),
        notes=(NOTE,),
    )
