"""The pages for browsers (L6): files of this package, served as they are, under a strict content policy.

They are plain HTML, CSS and ES modules in `pages/`, without a build step; nothing is loaded from elsewhere.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import ETag, web

from balancer.admin.answers import ASSETS, EXPLAIN, NotFoundError

HTML = "text/html"
_NEVER = frozenset(["q=0", "q=0.0", "q=0.00", "q=0.000"])  # parameters by which a client refuses a type
_FILES = Path(__file__).with_suffix("")
_TYPES = {
    ".html": f"{HTML}; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for again by its ETag: another version may serve next
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of `pages/`."""

    body: bytes
    type: str
    tag: str  # of its content


@cache
def files() -> Mapping[str, File]:
    """All of them by name; read once, when a browser first asks for one."""
    found = {}
    for path in sorted(_FILES.iterdir()):
        body = path.read_bytes()
        found[path.name] = File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
    return found


def page(request: web.Request, name: str) -> web.Response:
    """The file, or 304 if the browser has it. Raises NotFoundError."""
    file = files().get(name)
    if file is None:
        raise NotFoundError(f"there is no file {name!r}")
    known = request.if_none_match or ()
    if any(tag.value in (file.tag, "*") for tag in known):
        response = web.Response(status=304, headers=HEADERS)
    else:
        response = web.Response(body=file.body, headers={**HEADERS, "Content-Type": file.type})
    response.etag = ETag(file.tag)
    return response


async def asset(request: web.Request) -> web.Response:
    """`/assets/{name}`: what the pages load."""
    return page(request, request.match_info["name"])


async def explain(request: web.Request) -> web.Response:
    """`/explain`: the page of an explained request, by `?id=`, or of all of them."""
    return page(request, "explain.html")


ROUTES = (web.get(ASSETS, asset), web.get(EXPLAIN, explain))


def is_browser(request: web.Request) -> bool:
    """Whether the client takes HTML, as browsers say, and curl and scripts do not."""
    accepted = ",".join(request.headers.getall("Accept", ()))
    for one in accepted.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind == HTML:
            return not any(part.replace(" ", "") in _NEVER for part in parameters)
    return False
