"""Turns validation errors in routes into sentences (L1): route, setting, value, remedy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from balancer.config.route_text import RouteError, parse_routes
from balancer.config.routes import RouteSettings

# Names in other programs, and where a name is that was written elsewhere.
_OTHER_WORDS = {
    **dict.fromkeys(("prefix", "location", "path_regex", "path_regexp"), "match.path_prefix"),
    **{name: f"match.{name}" for name in ("path", "path_prefix", "methods", "headers", "query", "cookies")},
    **{
        "header": "match.headers",
        "method": "match.methods",
        "cookie": "match.cookies",
        "hosts": "match.host",
    },
    **dict.fromkeys(("upstream", "backend", "service", "upstreams", "proxy_pass"), "pool"),
    **{"pools": "split", "weight": "split", "weights": "split", "fallback": "split.fallback"},
    **dict.fromkeys(("body", "content"), "respond.text"),
    **dict.fromkeys(("code", "status"), "redirect.status"),
    **dict.fromkeys(("url", "location_to", "target"), "redirect.to"),
    **dict.fromkeys(("rewrite", "replace"), "replace_prefix"),
    **dict.fromkeys(("read", "response", "timeout"), "timeouts.first_byte"),
    **dict.fromkeys(("attempts", "retries"), "retry.max_attempts"),
    **dict.fromkeys(("max_body", "body_size"), "limits.body_bytes"),
}


def _models(kind: object) -> Iterator[type[BaseModel]]:
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from _names(inner)


# The rest of an error's location are names of types that pydantic has tried, and keys of mappings.
_KEYS = frozenset(_names(RouteSettings))


def items_of(written: object) -> Sequence[object]:
    """The routes as they were read, one by one; none if they are no list."""
    try:
        items = parse_routes(written)
    except RouteError:
        return ()
    return items if isinstance(items, list | tuple) else ()


def in_routes(
    error: ErrorDetails, text: str, items: Sequence[object], quoted: Callable[[object], str]
) -> str:
    """The sentence without where the routes were set. `text` is what the error's type says of the value,
    `items` are the routes as they were read, and `quoted` shows a value."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, RouteError):
        return str(cause)
    number, names, value = _where(error), _path(error), error["input"]
    place = "" if number is None else f"{_name(number, items)}: "
    if error["type"] == "extra_forbidden":
        unknown = str(error["loc"][-1])
        return f"{place}{'.'.join([*names, unknown])}: {_unknown(unknown, names)}"
    where = f"{'.'.join(names)}: " if names else ""
    if error["type"] == "missing":
        return f"{place}{where}is not set; give it a value"
    if error["type"] == "value_error":
        text = str(cause)
    elif error["type"] in ("model_type", "model_attributes_type") and names:
        text = f"is no group of settings; it has {', '.join(_group(names))}"
    elif error["type"] == "string_type" and isinstance(value, Mapping | list):
        text = f"is a {'mapping' if isinstance(value, Mapping) else 'list'}, not text; write one value"
    shown = "" if isinstance(value, Mapping | RouteSettings) else f"{quoted(value)} "
    return f"{place}{where}{shown}{text}"


def _where(error: ErrorDetails) -> int | None:
    number = error["loc"][1] if len(error["loc"]) > 1 else None
    return number if isinstance(number, int) else None


def _path(error: ErrorDetails) -> list[str]:
    """The names of the settings on the way to the error, without that of an unknown one."""
    end = -1 if error["type"] == "extra_forbidden" else None
    return [str(part) for part in error["loc"][2:end] if part in _KEYS]


def _name(number: int, items: Sequence[object]) -> str:
    route = items[number] if number < len(items) else None
    name = f" ({route['name']})" if isinstance(route, Mapping) and "name" in route else ""
    return f"route {number + 1}{name}"


def _group(names: list[str]) -> list[str]:
    """The settings of the group at these names."""
    model: type[BaseModel] = RouteSettings
    for name in names:
        model = next(_models(model.model_fields[name].annotation), model)
    return list(model.model_fields)


def _unknown(name: str, names: list[str]) -> str:
    known = _group(names)
    meant = _OTHER_WORDS.get(name.lower())
    if meant is None and (close := get_close_matches(name.lower(), known, 1, 0.75)):
        meant = ".".join([*names, close[0]])
    if meant is not None and meant != ".".join([*names, name]):
        return f"no such setting of a route; did you mean {meant}?"
    return f"no such setting of a route; there are {', '.join(known)}"
