"""Why an upstream is in its state, what to do, and whose it is: in words, for the dashboard (L7). Pure."""

from balancer.admin.view import UpstreamView
from balancer.health.result import NO_ANSWER, Result
from balancer.runtime.moment import UNRESOLVED
from balancer.telemetry.events import Event
from balancer.upstreams.state import AdminState, Cause


def compare(id: str) -> str:
    """What to do about an upstream that serves, and is unlike the others."""
    return (
        "Compare its log and its machine with those of the others; restart it, or spare clients: "
        f"balancer drain {id}."
    )


def why(one: UpstreamView, state: str, event: Event | None) -> str:
    """Why it is not simply active; `event` is the one that has led to its state."""
    if state == AdminState.ACTIVE:
        return "its weight is 0" if one.weight == 0 else ""
    if state == UNRESOLVED:
        return "its name has no address"
    check = one.last_check
    if check is not None and not check.passed and (event is None or Cause.ACTIVE_CHECK in one.causes):
        return check.text
    return "" if event is None else event.text.partition(": ")[2]


def todo(one: UpstreamView, state: str) -> str:
    """A sentence, or nothing."""
    causes = set(one.causes)
    check = one.last_check
    if state == AdminState.MAINTENANCE or (state == AdminState.DRAINING and not one.announced):
        return f"Activate it when it may serve again: balancer activate {one.id}."
    if state == AdminState.DRAINING:
        return "Its app has announced that it shuts down. If it does not come back, look at its log."
    if state == UNRESOLVED:
        return "See that the name server, or the source of members, has it."
    if Cause.ACTIVE_CHECK in causes and check is not None and check.hint:
        return _sentence(check.hint.removeprefix(f"{check.text}: "))
    if Cause.STUCK in causes:
        return "It has stopped answering: see what it waits for, or restart it."
    if Cause.OUTLIER in causes:
        return "It fails requests that the others serve: look at its log, and restart it if need be."
    return ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def whose(one: UpstreamView, state: str) -> str:
    """Where the cause is: upstream, app, operator, network, balancer; empty if nothing is wrong."""
    if state in (AdminState.MAINTENANCE, AdminState.DRAINING):
        return "app" if one.announced and state == AdminState.DRAINING else "operator"
    if state == UNRESOLVED:
        return "network"
    if Cause.ACTIVE_CHECK in one.causes and one.last_check is not None:
        result = one.last_check.result
        if result == Result.UNREACHABLE:
            return "network"
        if result in (Result.LOOP, Result.NOT_MADE, Result.LATE):
            return "balancer"
        return "upstream" if result in NO_ANSWER else "app"
    return "upstream" if one.causes else ""
