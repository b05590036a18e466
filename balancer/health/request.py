"""The request of a check (L5): rendered once, as it is the same each time. Pure."""

import re
from urllib.parse import quote

from balancer import __version__
from balancer.spec.instance import CheckSpec
from balancer.upstreams.upstream import UNIX

# What RFC 3986 allows in a path, and additionally in a query; a % that begins an escape is kept.
_IN_PATH = "/-._~!$&'()*+,;=:@%"
_IN_QUERY = _IN_PATH + "?"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def render_check(name: str, settings: CheckSpec, via: str) -> bytes:
    """A GET for the upstream `name`; `via` is the instance's name, "" for no Via."""
    # Host is the upstream's name from the settings: an IP address would not match a virtual host.
    host = "localhost" if name.startswith(UNIX) else name
    ours = {"Host": host, "User-Agent": f"balancer-check/{__version__}", "Accept": "*/*"}
    if via:
        ours["Via"] = f"1.1 {via}"
    theirs = {header.lower() for header, _ in settings.headers}
    headers = [one for one in ours.items() if one[0].lower() not in theirs] + list(settings.headers)
    lines = [f"GET {target_of(settings.path)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def target_of(path: str) -> str:
    """The request target: `path` without dot segments (RFC 3986 section 5.2.4), escaped where needed."""
    path, mark, query = _STRAY_PERCENT.sub("%25", path).partition("?")
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return f"/{quote('/'.join(kept), safe=_IN_PATH)}{mark}{quote(query, safe=_IN_QUERY)}"
