"""Turns validation errors into sentences an operator can act on (L1): setting, value, remedy."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import PlainSerializer, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from balancer.config.catalogue import BY_PATH, Path, about_unknown_key, at_top, pool_of, variable
from balancer.config.group import MisfitError
from balancer.config.masking import MASKED, MASKED_QUERIES
from balancer.config.route_problems import in_routes, items_of
from balancer.config.settings import Settings
from balancer.config.sources import Origin
from balancer.config.types import MASK

_LONGEST_VALUE = 80
ROUTES = "routes"


# pydantic's error type -> the sentence after the value, filled from the error's context
_SENTENCES = {
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is not a whole number of reasonable size",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is not a boolean; write true or false",
    "bool_type": "is not a boolean; write true or false",
    "string_type": "is not text; put it in quotes",
    "string_too_short": "is empty; give it a value or remove it",
    "tuple_type": "is not a list; write a,b or [a, b]",
    "dict_type": "is not a mapping of names to values",
    "model_type": "is not a mapping of names to values",
    "greater_than_equal": "is too small; the minimum is {ge}",
    "less_than_equal": "is too large; the maximum is {le}",
    "literal_error": "is not known; write {expected}",
}


def sentences(
    error: ValidationError,
    origins: Mapping[Path, Origin],
    file: str | None,
    tree: Mapping[str, Any],
    *,
    blame_missing: bool,
) -> list[str]:
    """One sentence per problem. `file` is where unknown keys were read from: those of the environment are
    already reported. `tree` holds the values as written."""
    items = items_of(tree.get(ROUTES))
    return [
        _sentence(each, origins, file, tree, items)
        for each in error.errors(include_url=False)
        if blame_missing or each["type"] != "missing"
    ]


def _sentence(
    error: ErrorDetails,
    origins: Mapping[Path, Origin],
    file: str | None,
    tree: Mapping[str, Any],
    items: Sequence[object],
) -> str:
    path = where = tuple(str(part) for part in error["loc"])
    if path[0] == ROUTES:
        return about_routes(in_routes(error, _generic(error), items, quoted=_quoted), origins)
    if error["type"] == "extra_forbidden":
        return f"{file}: {'.'.join(path)}: {about_unknown_key(path)}"
    context, value = error.get("ctx", {}), error["input"]
    misfit = context.get("error")
    if isinstance(misfit, MisfitError):
        path = where = (*path, *misfit.path)
    above = () if pool_of(path) is None else path[:2]
    path = (*above, *next(own for own in _beginnings(path[len(above) :]) if own in BY_PATH))
    if error["type"] == "missing":
        name = variable(path)
        return f"{name}: is not set; name your app replicas, for example {name}=app1:8000,app2:8000"
    if where == path and not isinstance(value, list):  # a list and its items are shown as they were read
        value = as_written(path, tree)
    if error["type"] == "value_error":
        text = str(context["error"])
    elif at_top(path) in MASKED and where != path:
        text = f"has a value of {where[-1]} that is not text; put it in quotes"
    else:
        shown = {name: _shown(path, bound) for name, bound in context.items()}
        text = _SENTENCES.get(error["type"], error["msg"]).format(**shown)
    if isinstance(value, str) and not isinstance(misfit, MisfitError):
        text = _about_quotes(value) or text
    return about_value(path, value, text, origins)


def _generic(error: ErrorDetails) -> str:
    """The sentence after the value, as the type of the error has it."""
    known = _SENTENCES.get(error["type"])
    return error["msg"] if known is None else known.format(**error.get("ctx", {}))


def about_routes(text: str, origins: Mapping[Path, Origin]) -> str:
    """The sentence about several routes, or one that `text` names."""
    return f"{place((ROUTES,), origins)}: {text}"


def about_route(number: int, name: str, text: str, origins: Mapping[Path, Origin]) -> str:
    """The sentence about a route, by its number from 1: where it was set, and what is wrong (`text`)."""
    return about_routes(f"route {number} ({name}): {text}", origins)


def _shown(path: Path, bound: object) -> object:
    """A bound as written in that setting: 100ms, 64k."""
    for each in BY_PATH[at_top(path)].field.metadata:
        if isinstance(each, PlainSerializer) and isinstance(bound, int | float):
            return each.func(bound)  # type: ignore[call-arg]  # it may take more, and ours do not
    return f"{bound:g}" if isinstance(bound, int | float) else bound


_QUOTES = frozenset("\"'")
_BRACKETS = frozenset("[{")


def _about_quotes(value: str) -> str | None:
    # From `docker run --env-file`: a shell and YAML would have removed them.
    if value[:1] in _QUOTES or (value[-1:] in _QUOTES and value[:1] not in _BRACKETS):
        return "has quotes that are part of the value; remove them"
    return None


def as_written(path: Path, tree: Mapping[str, Any]) -> object:
    """A setting's value as the operator wrote it; the default as `balancer check` shows it."""
    holder: Any = tree
    for part in path:
        if not isinstance(holder, Mapping) or part not in holder:
            return _default(at_top(path))
        holder = holder[part]
    return holder


@cache
def _default(path: Path) -> object:
    # Only upstreams have no default; any value will do to get the other defaults.
    value: Any = Settings.model_validate({"upstreams": "app:1"}).model_dump(mode="json")
    for part in path:
        value = value[part]
    return value


def about_value(path: Path, value: object, text: str, origins: Mapping[Path, Origin]) -> str:
    """The sentence about a setting's value: where it was set, the value, and what is wrong (`text`)."""
    return f"{place(path, origins)}: {MASK if _is_secret(path) else _quoted(_open(path, value))} {text}"


def _open(path: Path, value: object) -> object:
    """A value with possible secrets masked: the query of the checks' path."""
    if at_top(path) not in MASKED_QUERIES or not isinstance(value, str):
        return value
    start, mark, _ = value.partition("?")
    return f"{start}?{MASK}" if mark else value


def _is_secret(path: Path) -> bool:
    path = at_top(path)
    return path in MASKED or BY_PATH[path].field.annotation is SecretStr


def _beginnings(path: Path) -> tuple[Path, ...]:
    return path[:1], path[:2], path[:3]


def place(path: Path, origins: Mapping[Path, Origin]) -> str:
    """Where a value was set: a pool that has no value of its own has that of the top."""
    origin = origins.get(path) or origins.get(at_top(path))
    return f"{variable(path)} (the default)" if origin is None else origin.where


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if "-----BEGIN" in text:  # a key, put into the wrong setting
        return MASK
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
