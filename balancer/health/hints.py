"""What the operator can do about a check that did not pass (L5): one table."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from balancer.connections.tls_faults import TlsFault
from balancer.health.result import Reply, Result
from balancer.spec.instance import CheckSpec
from balancer.upstreams.upstream import UNIX


@dataclass(frozen=True, slots=True)
class Asked:
    """What was checked: the settings, the upstream's `name`, whether it has passed a check at its present
    address, and whom it must prove to be, by TLS; "" for plain HTTP."""

    settings: CheckSpec
    name: str
    has_passed: bool
    server_name: str = ""

    @property
    def own_host(self) -> str:
        """The Host that the settings set for the check, "" if they set none."""
        return next((value for header, value in self.settings.headers if header.lower() == "host"), "")

    @property
    def another_host(self) -> str:
        """How to send a Host other than the upstream's name."""
        if self.settings.headers:
            return f'add "Host": "app.example" to {_HEADERS}'
        return f'set {_HEADERS}={{"Host": "app.example"}}'


_Remedy: TypeAlias = Callable[[Asked], str]
_HEADERS = "BALANCER_HEALTH_CHECK__HEADERS"
_PATH = "BALANCER_HEALTH_CHECK__PATH"
_TLS = "BALANCER_UPSTREAM_TLS"


def hint(reply: Reply, asked: Asked) -> str:
    """One sentence: what happened, and the remedy; "" for a check that passed."""
    if reply.result is Result.PASSED:
        return ""
    if reply.result is Result.UNREACHABLE and asked.name.startswith(UNIX):
        remedy = _BY_ERROR_OF_SOCKET.get(reply.error, _another_socket)
    elif reply.result is Result.TLS:
        remedy = _BY_TLS_FAULT[TlsFault(reply.error)]
    elif reply.result is Result.STATUS:
        remedy = _BY_STATUS.get(reply.status) or _BY_CLASS.get(reply.status // 100) or _another_status
    else:
        remedy = _BY_RESULT[reply.result]
    return f"{reply.detail}: {remedy(asked)}"


def _another_path(asked: Asked) -> str:
    path = f"set {_PATH} to a path that answers {asked.settings.expected}"
    if asked.has_passed:
        return f"it passed before; find out what has changed in the app, or {path}"
    if asked.own_host:
        return f"is the app still starting? If not, {path}"
    return (
        f"is the app still starting? If not, {path}, or, if the app expects another Host than "
        f"{asked.name}, {asked.another_host}"
    )


def _another_status(asked: Asked) -> str:
    return (
        f"only {asked.settings.expected} passes; set BALANCER_HEALTH_CHECK__EXPECT if this status "
        f"means healthy, or another {_PATH}"
    )


def _host(asked: Asked) -> str:
    if asked.own_host:
        return f"the app may not know the Host in {_HEADERS}, {asked.own_host}; correct it"
    return f"the app may not know the Host that the check sends, {asked.name}; {asked.another_host}"


def _credentials(asked: Asked) -> str:
    if any(name.lower() in ("authorization", "cookie") for name, _ in asked.settings.headers):
        return f"the app does not accept the credentials in {_HEADERS}"
    return f"the check sends no credentials; set {_HEADERS}, or {_PATH} to an open path"


def _not_allowed(asked: Asked) -> str:
    # Rails answers 403 to a Host that it does not know.
    return f"{_credentials(asked)}; or {_host(asked)}"


def _not_ready(asked: Asked) -> str:
    if asked.has_passed:
        return "the app reports that it is not ready; look at its log"
    return "the app reports that it is not ready; is it still starting? If not, look at its log"


def _another_socket(_: Asked) -> str:
    return "correct the path in BALANCER_UPSTREAMS; it must be a socket on which the app listens"


def _or_speak(asked: Asked) -> str:
    if asked.server_name or asked.name.startswith(UNIX):
        return "or speak another protocol; correct it in BALANCER_UPSTREAMS"
    return f"or speak TLS: then write https://{asked.name} in BALANCER_UPSTREAMS"


def _refused(asked: Asked) -> str:
    if asked.name.startswith(UNIX):
        return "the app that made the socket is gone; start it, or correct the path in BALANCER_UPSTREAMS"
    if asked.has_passed:
        return "the app has stopped or is restarting; look at its log"
    if asked.settings.port:
        return "correct BALANCER_HEALTH_CHECK__PORT, or start the server that should listen there"
    return (
        "start the app, or correct the address in BALANCER_UPSTREAMS; an app in a container must listen on "
        "0.0.0.0, not on 127.0.0.1"
    )


_BY_STATUS: dict[int, _Remedy] = {
    400: _host,
    401: _credentials,
    403: _not_allowed,
    404: _another_path,
    405: lambda _: f"the check is a GET; set {_PATH} to a path that accepts it",
    410: _another_path,
    421: _host,
    429: lambda _: (
        "the app limits the request rate; exempt the check, or raise BALANCER_HEALTH_CHECK__INTERVAL"
    ),
    502: lambda _: "a proxy at this address cannot reach the app; look at the app's log",
    503: _not_ready,
    504: lambda _: "a proxy at this address got no response from the app in time; look at the app's log",
    508: lambda _: "a proxy at this address found a request loop; look where it sends requests",
}
_BY_CLASS: dict[int, _Remedy] = {
    3: lambda asked: (
        f"redirects are not followed; set {_PATH} to a path that answers {asked.settings.expected} itself"
    ),
    5: lambda _: "the app fails on this path; look at its log",
}
_BY_ERROR_OF_SOCKET: dict[int, _Remedy] = {
    errno.ENOENT: lambda _: (
        "is the app running, and the directory of its socket mounted here? If so, correct the path in "
        "BALANCER_UPSTREAMS"
    ),
    errno.EACCES: lambda _: (
        "give the balancer's user write access to the socket, and search access to the directories above it"
    ),
    errno.EAGAIN: lambda _: "the app's backlog is full: it does not accept connections fast enough, or hangs",
}
_BY_TLS_FAULT: dict[TlsFault, _Remedy] = {
    TlsFault.UNKNOWN_ISSUER: lambda _: (
        f"name the file of the authority that issued it in {_TLS}__CA; if there is an intermediate "
        "authority, the app must send that one's certificate too"
    ),
    TlsFault.OTHER_NAME: lambda asked: (
        f"set {_TLS}__SERVER_NAME to a name that it has, or let one be issued for {asked.server_name}"
    ),
    TlsFault.OUT_OF_DATE: lambda _: (
        "renew it, and let the app read it; if it is valid, correct the clock here"
    ),
    TlsFault.OTHER_CERTIFICATE: lambda _: "let another one be issued for the app",
    TlsFault.NOT_TLS: lambda asked: f"write {asked.name} in BALANCER_UPSTREAMS, or the port of its TLS",
    TlsFault.WANTS_CERTIFICATE: lambda _: (
        f"set {_TLS}__CERTIFICATE and {_TLS}__KEY to a certificate that the app accepts"
    ),
    TlsFault.ALERT: lambda asked: (
        "the app may not speak TLS 1.2 or 1.3, or not know the name that it is asked for, "
        f"{asked.server_name}; look at its log"
    ),
    TlsFault.CLOSED: lambda _: "look at the app's log; it may not speak TLS on this port",
    TlsFault.OTHER: lambda _: "look at the app's log",
}
_BY_RESULT: dict[Result, _Remedy] = {
    Result.BODY: lambda _: (
        "look at the app, or correct BALANCER_HEALTH_CHECK__BODY (the first 64 KiB of the body are searched)"
    ),
    Result.TIMEOUT: lambda _: "raise BALANCER_HEALTH_CHECK__TIMEOUT or look at the app",
    Result.REFUSED: _refused,
    Result.UNREACHABLE: lambda _: "the machine is off, there is no route to it, or a firewall blocks it",
    Result.CLOSED: lambda asked: (
        f"look at the app's log; it may have crashed on {asked.settings.shown_path}, {_or_speak(asked)}"
    ),
    Result.MALFORMED: lambda asked: f"the port may belong to another program, {_or_speak(asked)}",
    Result.TOO_MUCH: lambda asked: (
        f"look at what the app sends on {asked.settings.shown_path}; a check reads one response and its "
        "informational ones (1xx), 128 KiB in all"
    ),
    Result.LOOP: lambda _: (
        "this upstream points back to this balancer; correct its address in BALANCER_UPSTREAMS, "
        "or the proxy there"
    ),
    Result.SLOW: lambda _: (
        "it waited behind live requests, which succeed, so it does not count; a lighter "
        "BALANCER_HEALTH_CHECK__PATH or a higher BALANCER_HEALTH_CHECK__TIMEOUT gives a certain "
        "result"
    ),
    Result.LATE: lambda _: (
        "the balancer's own process ran late, so it does not count; give it more CPU if this recurs"
    ),
    Result.NOT_MADE: lambda _: (
        "the fault is in the balancer, so it does not count; look at the balancer's log"
    ),
}
