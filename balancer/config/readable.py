"""Which header fields of a request a condition or a key can go by (L1): those that are kept of it.

The others are never there, or in every request, so what goes by them has no effect.
"""

import re
from functools import lru_cache

# As in http/fields: a test compares.
ABOUT_CONNECTIONS = ("connection", "keep-alive", "proxy-connection", "te")
NEVER_PASSED = ("client-cert", "client-cert-chain", "proxy", "proxy-authorization")
SET_HERE = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
IN_EVERY_REQUEST = frozenset(["x-forwarded-for", "x-forwarded-proto", "x-real-ip"])
_REQUEST_ID = "x-request-id"
_EXPLAIN = "x-balancer-explain"
_IMITATED = (*ABOUT_CONNECTIONS[1:3], *NEVER_PASSED, *SET_HERE, _REQUEST_ID, _EXPLAIN)
_SIGN = re.compile(r"[^a-z0-9]")


@lru_cache(4096)
def plain(name: str) -> str:
    """The name in the form that `http/fields` compares: some apps treat all punctuation alike."""
    return _SIGN.sub("-", name.lower())


def about_field(name: str) -> str | None:
    """Why nothing can go by a field: the end of a sentence that names it. None if it is kept."""
    lower = name.lower()
    if lower in ABOUT_CONNECTIONS:
        return "which concerns one connection only and is not kept; name another field"
    if lower == "via":
        return "which the balancer itself adds to; name another field"
    if lower in NEVER_PASSED or lower == _EXPLAIN:
        return "which is dropped from every request; name another field"
    meant = next((each for each in _IMITATED if plain(each) == plain(lower)), lower)
    return None if meant == lower else f"which is dropped, as apps take it for {meant}; write that"


def about_key(name: str) -> str | None:
    """As `about_field`, of a field whose value is to tell requests apart."""
    if name.lower() == "upgrade":
        return "which is the same in all requests; name another field"
    if name.lower() == "cookie":
        return "which changes with each cookie; write cookie:NAME"
    return about_field(name)
