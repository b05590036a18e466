"""What people can do about a check that did not pass (L4): one table."""

from collections.abc import Callable
from typing import TypeAlias

from balancer.health.result import Reply, Result
from balancer.health.settings import CheckSettings

_Remedy: TypeAlias = Callable[[CheckSettings], str]


def hint(reply: Reply, settings: CheckSettings) -> str:
    """One sentence: what happened, and the remedy; "" for a check that passed."""
    if reply.result is Result.PASSED:
        return ""
    if reply.result is Result.STATUS:
        remedy = _BY_STATUS.get(reply.status) or _BY_CLASS.get(reply.status // 100) or _another_status
    else:
        remedy = _BY_RESULT[reply.result]
    return f"{reply.detail}: {remedy(settings)}"


def _another_path(settings: CheckSettings) -> str:
    return f"set BALANCER_HEALTH_CHECK__PATH to a path that answers {settings.expected}"


def _another_status(settings: CheckSettings) -> str:
    return (
        f"only {settings.expected} passes; set BALANCER_HEALTH_CHECK__EXPECT if this status means that all "
        "is well, or another BALANCER_HEALTH_CHECK__PATH"
    )


def _credentials(settings: CheckSettings) -> str:
    if any(name.lower() in ("authorization", "cookie") for name, _ in settings.headers):
        return "the app does not accept the credentials in BALANCER_HEALTH_CHECK__HEADERS"
    return (
        "the check sends no credentials; set BALANCER_HEALTH_CHECK__HEADERS, or BALANCER_HEALTH_CHECK__PATH "
        "to an open path"
    )


_BY_STATUS: dict[int, _Remedy] = {
    400: lambda _: (
        "the app may not accept the check's Host, which is the upstream's name; "
        "set BALANCER_HEALTH_CHECK__HEADERS to one with the Host it knows"
    ),
    401: _credentials,
    403: _credentials,
    404: _another_path,
    405: lambda _: "the check is a GET; set BALANCER_HEALTH_CHECK__PATH to a path that accepts it",
    410: _another_path,
    421: lambda _: "the app does not know the check's Host; set it by BALANCER_HEALTH_CHECK__HEADERS",
    429: lambda _: (
        "the app limits how often it is asked; exempt the check, or raise BALANCER_HEALTH_CHECK__INTERVAL"
    ),
    502: lambda _: "what answers there is a proxy that cannot reach the app; look at the app's log",
    503: lambda _: "the app says that it is not ready; look at its log",
    504: lambda _: "what answers there is a proxy that waited in vain for the app; look at the app's log",
    508: lambda _: "what answers there is a proxy whose requests come back to it; look where it sends them",
}
_BY_CLASS: dict[int, _Remedy] = {
    3: lambda s: (
        "redirects are not followed; set BALANCER_HEALTH_CHECK__PATH to a path that answers "
        f"{s.expected} itself"
    ),
    5: lambda _: "the app fails on this path; look at its log",
}
_BY_RESULT: dict[Result, _Remedy] = {
    Result.BODY: lambda _: (
        "look at the app, or correct BALANCER_HEALTH_CHECK__BODY (the first 64 KiB are searched)"
    ),
    Result.TIMEOUT: lambda _: "raise BALANCER_HEALTH_CHECK__TIMEOUT or look at the app",
    Result.REFUSED: lambda s: (
        "correct BALANCER_HEALTH_CHECK__PORT, or start what should answer there"
        if s.port
        else "start the app, or correct the address in BALANCER_UPSTREAMS; an app in a container must listen "
        "on 0.0.0.0, not on 127.0.0.1"
    ),
    Result.UNREACHABLE: lambda _: "the machine is off, or no route or a firewall is in between",
    Result.CLOSED: lambda s: (
        f"look at the app's log; it may have crashed on {s.shown_path}, "
        "or speak TLS or another protocol there"
    ),
    Result.MALFORMED: lambda _: "the port may be another program's, or speak TLS; correct the port",
    Result.LOOP: lambda _: (
        "this upstream leads back to this balancer; correct its address in BALANCER_UPSTREAMS, or what the "
        "proxy there does"
    ),
    Result.SLOW: lambda _: (
        "it waits behind live requests, which are answered, so it counts for nothing; "
        "a lighter BALANCER_HEALTH_CHECK__PATH or a higher BALANCER_HEALTH_CHECK__TIMEOUT would make it "
        "certain"
    ),
    Result.LATE: lambda _: (
        "the balancer's own process was late, so it counts for nothing; give it more CPU if this repeats"
    ),
    Result.NOT_MADE: lambda _: "the fault is here, so it counts for nothing; look at the balancer's log",
}
