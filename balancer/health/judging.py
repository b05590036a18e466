"""What a response to a check means (L5): pure."""

from balancer.health.result import Reply, Result
from balancer.spec.instance import CheckSpec


def judge(settings: CheckSpec, status: int, body: bytes) -> Reply:
    """Judge a response by its status and, if BODY is set, by the start of its body."""
    on = f"{status} on {settings.shown_path}"
    if settings.announces_drain(status):
        return Reply(Result.PASSED, status, f"{on}: it asks for no new requests")
    if not settings.expects(status):
        return Reply(Result.STATUS, status, on)
    if settings.body and settings.body.encode() not in body:
        return Reply(Result.BODY, status, f"{on}, but its body lacks {settings.body!r}")
    return Reply(Result.PASSED, status, on)
