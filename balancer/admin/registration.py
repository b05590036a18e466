"""Apps that register themselves (L6): what the token of a pool allows, and nothing else."""

import hmac
from collections.abc import Callable, Mapping
from typing import TypeAlias

from aiohttp import web

Tokens: TypeAlias = Callable[[], Mapping[str, str]]  # the present ones, by pool: a reload may change them
REGISTERS: web.AppKey[Tokens] = web.AppKey("registers")
_SCHEME = "bearer "
_ALLOWED = (
    ("POST", "/api/pools/{pool}/upstreams"),
    ("DELETE", "/api/pools/{pool}/upstreams/{id}"),
)


def no_tokens() -> Mapping[str, str]:
    """No pool has one."""
    return {}


def token_of(request: web.Request) -> bytes:
    """The token that the request has, b"" if there is none."""
    given = request.headers.get("Authorization", "")
    if given[: len(_SCHEME)].lower() != _SCHEME:
        return b""
    return given[len(_SCHEME) :].strip().encode("utf-8", "surrogateescape")


def is_by_app(request: web.Request) -> bool:
    """Whether a request that was let through is an app's, and not an operator's."""
    return bool(pools_of(token_of(request), request.app[REGISTERS]()))


def pools_of(given: bytes, tokens: Mapping[str, str]) -> list[str]:
    """The pools in which the token `given` registers; every one is compared in constant time."""
    return [pool for pool, token in tokens.items() if hmac.compare_digest(given, token.encode())]


def is_allowed(request: web.Request, pools: list[str]) -> bool:
    """Whether this is a request to register in one of `pools`, or to end that. Handlers refuse it without a
    time to live, and for upstreams of others."""
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    return (request.method, path) in _ALLOWED and request.match_info["pool"] in pools


def refusal(pools: list[str]) -> str:
    """Why the token is not enough."""
    where = " and ".join(f"/api/pools/{pool}/upstreams" for pool in pools)
    return f"this token only registers upstreams, and ends that, at {where}: all else needs the ADMIN_TOKEN"
