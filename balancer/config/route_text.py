"""Routes as text (L1): the short form for the environment, and what a list of routes may be written as.

`/api/=api, static.example.com/=static, /=web` is the short form, the long one is JSON or YAML. Nowhere is
there a regular expression: a pattern that backtracks would stop a whole worker.
"""

from collections.abc import Mapping
from typing import Any

from balancer.config.types import BARE, from_json

_EXAMPLE = "/api/=api"


class RouteError(ValueError):
    """What is wrong with one of the routes: a sentence that names it."""


def _short(text: str) -> dict[str, Any]:
    """One route in the short form: `/api/=api`, `*.example.com=web`, `/=stable:90|canary:10`."""
    left, equals, pool = (part.strip() for part in text.rpartition("="))
    if not equals or not left or not pool:
        raise RouteError(f'"{text}" is no route; write a path or a host, =, and a pool: {_EXAMPLE}')
    host, slash, path = left.partition("/")
    if "://" in left:
        raise RouteError(f'"{text}" has a URL; write its host and path: {left.partition("://")[2]}={pool}')
    match: dict[str, Any] = {}
    if host:
        match["host"] = [host]
    if slash:
        match["path_prefix"] = [f"/{path}"]
    return {"match": match, **({"split": pool} if "|" in pool else {"pool": pool})}


def parse_routes(value: object) -> object:
    """The routes from the short form, from JSON, or from a list in which each is in either form."""
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith(("[", "{")) or BARE.match(text):
            return [_short(item) for each in text.split(",") if (item := each.strip())]
        try:
            value = from_json(text, f"write a list of routes, or {_EXAMPLE}, /=web")
        except ValueError as error:
            raise RouteError(str(error)) from None
    if isinstance(value, Mapping):
        raise RouteError("is a mapping, not a list; write one route below the other, each with a - in front")
    if not isinstance(value, list | tuple):
        raise RouteError(f"is no list of routes; write {_EXAMPLE}, /=web")
    return [_short(each) if isinstance(each, str) else each for each in value]
