"""Routes as text (L1): the short form for the environment, and what a list of routes may be written as.

`/api/=api, static.example.com/=static, /=web` is the short form, the long one is JSON or YAML. Nowhere is
there a regular expression: a pattern that backtracks would stop a whole worker.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from balancer.config.json_text import from_json
from balancer.config.types import BARE

_EXAMPLE = "/api/=api"
_JOINED = re.compile(r"=[^,]*[;\s]")


class RouteError(ValueError):
    """What is wrong with one of the routes: a sentence that names it."""


def _short(text: str) -> dict[str, Any]:
    """One route in the short form: `/api/=api`, `*.example.com=web`, `/=stable:90|canary:10`."""
    left, equals, pool = (part.strip() for part in text.rpartition("="))
    if not equals or not left or not pool:
        raise RouteError(f'"{text}" is no route; write a path or a host, =, and a pool: {_EXAMPLE}')
    if _JOINED.search(left):
        raise RouteError(f'"{text}" is more than one route; put commas between them: {_EXAMPLE}, /=web')
    if "=" in left and "|" in left:
        raise RouteError(f'"{text}" has weights with =; write /=stable:90|canary:10')
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
        if text[:1] in ("'", '"'):
            raise RouteError("has quotes that are part of the value; remove them")
        if not text.startswith(("[", "{")) or BARE.match(text):
            return [_short(item) for each in text.split(",") if (item := each.strip())]
        try:
            value = from_json(text, f"write a list of routes, or {_EXAMPLE}, /=web")
        except ValueError as error:
            raise RouteError(str(error)) from None
    if isinstance(value, Mapping):
        if value and all(isinstance(each, str) and str(name)[:1] == "/" for name, each in value.items()):
            short = ", ".join(f"{path}={pool}" for path, pool in islice(value.items(), 3))
            raise RouteError(f"is a mapping, not a list; write {short}")
        raise RouteError("is a mapping, not a list; write one route below the other, each with a - in front")
    if not isinstance(value, list | tuple):
        raise RouteError(f"is no list of routes; write {_EXAMPLE}, /=web")
    for number, each in enumerate(value, 1):
        if isinstance(each, Mapping) and (empty := _empty(each)):
            raise RouteError(f"route {number}: {empty}: has no value; give it one or remove it")
    return [_short(each) if isinstance(each, str) else each for each in value]


def _empty(tree: Mapping[Any, Any]) -> str:
    """The path of a name without a value, "" if all have one."""
    for name, value in tree.items():
        if value is None:
            return str(name)
        if isinstance(value, Mapping) and (below := _empty(value)):
            return f"{name}.{below}"
    return ""
