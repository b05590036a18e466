"""Routes as text (L1): the short form for the environment, and what a list of routes may be written as.

`/api/=api, static.example.com/=static, /=web` is the short form, the long one is JSON or YAML. Nowhere is
there a regular expression: a pattern that backtracks would stop a whole worker.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from balancer.config.json_text import from_json
from balancer.config.types import BARE

MOST_ROUTES = 1024  # each has a row of the stats segment
_EXAMPLE = "/api/=api"
_JOINED = re.compile(r"=[^,]*[;\s]")


class RouteError(ValueError):
    """What is wrong with the routes as a whole."""


def _short(text: str) -> dict[str, Any]:
    """One route in the short form: `/api/=api`, `*.example.com=web`, `/=stable:90|canary:10`. Raises
    ValueError for another text."""
    left, equals, pool = (part.strip() for part in text.rpartition("="))
    if not equals or not left or not pool:
        raise ValueError(f"is no route; write a path or a host, =, and a pool: {_EXAMPLE}")
    if _JOINED.search(left):
        raise ValueError(f"is more than one route; put commas between them: {_EXAMPLE}, /=web")
    if "=" in left and "|" in left:
        raise ValueError("has weights with =; write /=stable:90|canary:10")
    host, slash, path = left.partition("/")
    if "://" in left:
        raise ValueError(f"has a URL; write its host and path: {left.partition('://')[2]}={pool}")
    match: dict[str, Any] = {}
    if host:
        match["host"] = [host]
    if slash:
        match["path_prefix"] = [f"/{path}"]
    return {"match": match, **({"split": pool} if "|" in pool else {"pool": pool})}


def parse_routes(value: object) -> object:
    """The items of the short form, of JSON, or of a list, each in either form. Raises RouteError for what is
    no list of them, or too long a one."""
    is_text = isinstance(value, str)
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("'", '"'):
            raise RouteError("has quotes that are part of the value; remove them")
        if not text.startswith(("[", "{")) or BARE.match(text):
            return _few([item for each in text.split(",") if (item := each.strip())])
        try:
            value = from_json(text, f"write a list of routes, or {_EXAMPLE}, /=web")
        except ValueError as error:
            raise RouteError(str(error)) from None
    if isinstance(value, Mapping):
        if value and all(isinstance(each, str) and str(name)[:1] == "/" for name, each in value.items()):
            short = ", ".join(f"{path}={pool}" for path, pool in islice(value.items(), 3))
            raise RouteError(f"is a mapping, not a list; write {short}")
        if is_text:
            raise RouteError("is a JSON object, not a list; put [ and ] around it")
        raise RouteError("is a mapping, not a list; write one route below the other, each with a - in front")
    if not isinstance(value, list | tuple):
        raise RouteError(f"is no list of routes; write {_EXAMPLE}, /=web")
    return _few(value)


def _few(items: Sequence[object]) -> Sequence[object]:
    if len(items) > MOST_ROUTES:
        raise RouteError(f"has {len(items)} routes; there is room for {MOST_ROUTES}: name fewer")
    return items


def parse_route(value: object) -> object:
    """One of these items as a mapping. Raises ValueError for a short form that is wrong, and for a name
    without a value."""
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, Mapping) and (empty := _empty(value)):
        raise ValueError(f"{empty}: has no value; give it one or remove it")
    return value


def _empty(tree: Mapping[Any, Any]) -> str:
    """The path of a name without a value, "" if all have one."""
    for name, value in tree.items():
        if value is None:
            return str(name)
        if isinstance(value, Mapping) and (below := _empty(value)):
            return f"{name}.{below}"
    return ""
