"""Who may read, and who may make changes, through the admin API (L6).

Every client that can reach the listener may read, except, on loopback, a page in a browser.
"""

import hmac
import re

from aiohttp import web

from balancer.admin import registration
from balancer.admin.answers import Handler, error
from balancer.admin.hosts import host_of, is_loopback
from balancer.admin.keys import ACCESS, INSTANCE, VIA
from balancer.errors import LOOP_DETECTED
from balancer.http.via import balancers_in
from balancer.overview.shape import ChangesShape

_READING = frozenset(["GET", "HEAD", "OPTIONS"])
# Headers that a proxy in front of the listener adds: then the peer's address is not the client's.
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
# What browsers say of requests by a page of the same origin, or by their user. Older ones say nothing.
_OF_OUR_PAGES = frozenset(["same-origin", "none"])
JSON = "application/json"
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]*)")


def asked_for(request: web.Request) -> list[str]:
    """The hosts that a request names: its Host, and the authority of a target in absolute form."""
    named = [field for field in request.headers.getall("Host", ()) if field.strip()]
    if match := _ABSOLUTE.match(request.raw_path):
        named.append(match[1])
    return named


@web.middleware
async def meant_for_this_listener(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses requests for another name. One without a Host is not from a browser: they always send it."""
    hosts = request.app[ACCESS].hosts
    for field in asked_for(request):
        if not hosts.answers_for(field):
            return error(
                f"{field} is not a name of this listener: use localhost or 127.0.0.1, or add the "
                "name to ADMIN_HOSTS",
                403,
            )
    return await handler(request)


@web.middleware
async def not_from_ourselves(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses requests and checks of this balancer itself: an upstream leads to its admin listener, and would
    pass every check."""
    name = request.app[VIA].encode()
    if name:
        for value in request.headers.getall("Via", ()):
            if name in balancers_in(value.encode("utf-8", "surrogateescape")):
                text = f"an upstream points to this balancer's own admin listener: Via names {name.decode()}"
                return error(text, LOOP_DETECTED.status)
    return await handler(request)


@web.middleware
async def changes_need_leave(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses changes that are not allowed."""
    if request.method in _READING or request.match_info.http_exception is not None:
        return await handler(request)
    token = request.app[ACCESS].token
    if request.method != "DELETE" and request.content_type != JSON:
        # Without a CORS preflight, a page in a browser cannot send this type, or a DELETE, to another site.
        return error(f"a change must be sent as JSON: set Content-Type to {JSON}", 415)
    if request.app[INSTANCE].replacing:  # what it hands over has been collected
        busy = error("the program is being replaced; ask again in a moment", 503)
        busy.headers["Retry-After"] = "1"
        return busy
    given = registration.token_of(request)
    if token and hmac.compare_digest(given, token.encode()):
        return await handler(request)
    if pools := registration.pools_of(given, request.app[registration.REGISTERS]()):
        if not registration.is_allowed(request, pools):
            return error(registration.refusal(pools), 403)
    elif token:
        refusal = error("this request needs the ADMIN_TOKEN: send Authorization: Bearer TOKEN", 401)
        refusal.headers["WWW-Authenticate"] = 'Bearer realm="balancer"'
        return refusal
    elif (reason := why_not_local(request)) is not None:
        return error(f"{reason}: set ADMIN_TOKEN to allow changes from other machines", 403)
    return await handler(request)


def why_not_local(request: web.Request) -> str | None:
    """Why the request may not come from a program on this machine; None if it does.

    It does if both ends of the connection are loopback addresses, no proxy has passed it on, it names this
    machine, and it comes from no page but our own: another page in a browser here could send requests to its
    own name, resolved to 127.0.0.1, and browsers identify the page by Origin.
    """
    transport = request.transport
    ends = [transport.get_extra_info(which) for which in ("peername", "sockname")] if transport else []
    if not ends or not all(end and is_loopback(end[0]) for end in ends):
        return "the request does not come from 127.0.0.1"
    if any(name in request.headers for name in _OF_PROXIES):
        return "the request came through a proxy"
    named = asked_for(request)
    # Our own pages, by a browser that names this listener by a loopback name, which no foreign page can have.
    own = [f"http://{field}" for field in named]
    if any(origin not in own for origin in request.headers.getall("Origin", ())):
        return "the request came from a page in a browser"
    if any(site not in _OF_OUR_PAGES for site in request.headers.getall("Sec-Fetch-Site", ())):
        return "the request came from a page in a browser"
    if not named:
        return "the request names no host"
    for field in named:
        if not is_loopback(host_of(field)):
            return f"the request asks for {field}, not for 127.0.0.1 or localhost"
    return None


def leave_to_change(request: web.Request) -> ChangesShape:
    """Whether who sends this may change things, or what to set so that they may."""
    if request.app[ACCESS].token:
        return {"allowed": "token", "hint": "Changes need the ADMIN_TOKEN."}
    reason = why_not_local(request)
    if reason is None:
        return {"allowed": "loopback", "hint": ""}
    return {
        "allowed": "no",
        "hint": f"Set BALANCER_ADMIN_TOKEN to allow changes from here: {reason}.",
    }
