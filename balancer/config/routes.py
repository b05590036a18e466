"""Routes (L1): which requests go to which pool, what is changed on the way, and what is answered here.

There is a short form for the environment, `/api/=api, static.example.com/=static, /=web`, and a long form in
JSON or YAML. Nowhere is there a regular expression: a pattern that backtracks would stop a whole worker.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from balancer.config.group import Group
from balancer.config.route_answers import Redirect, RespondSettings
from balancer.config.route_edits import FieldsSettings, NewHost
from balancer.config.route_match import MatchSettings, PathOrNone, Prefix
from balancer.config.split import Split
from balancer.config.types import Count, Duration, Methods, Size, Statuses
from balancer.config.written import plain

UNMATCHED = "unmatched"  # the route of requests that no other matches
_EXAMPLE = "/api/=api"
_ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RouteError(ValueError):
    """What is wrong with one of the routes: a sentence that names it."""


def _check_name(name: str) -> str:
    if name == UNMATCHED:
        raise ValueError(f"is the route of requests that no other matches; write a last route with /={name}")
    if _ROUTE_NAME.fullmatch(name) is None:
        raise ValueError("is no name for a route; write letters, digits, dots, - and _, at most 64")
    return name


def _parse_stripped(value: object) -> object:
    text = plain(value).lower()
    if isinstance(value, bool) or text in ("true", "on", "yes"):
        return bool(value)
    return False if text in ("false", "off", "no", "") else value


class OwnTimeouts(Group):
    """A route's own timeouts; unset ones are those of TIMEOUTS."""

    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None
    tunnel_idle: Duration | None = None


class OwnRetry(Group):
    """A route's own rules for retries; unset ones are those of its pool. The budget is the pool's."""

    max_attempts: Annotated[Count, Field(ge=1, le=100)] | None = None
    statuses: Statuses | None = None
    methods: Methods | None = None
    replay_bytes: Annotated[Size, Field(le=64 << 20)] | None = None


class OwnLimits(Group):
    """A route's own limits; unset ones are those of LIMITS."""

    body_bytes: Size | None = None


class RouteSettings(Group):
    """One route: what it matches, and who answers."""

    name: Annotated[str, AfterValidator(lambda name: _check_name(name) if name else name)] = Field(
        default="", description="Its name in metrics and logs; if unset, that of its pool."
    )
    match: MatchSettings = MatchSettings()
    pool: str = Field(default="", description="The pool that serves it.")
    split: Split = None
    redirect: Redirect = None
    respond: RespondSettings | None = None
    strip_prefix: Annotated[bool | Prefix, BeforeValidator(_parse_stripped)] = Field(
        default=False, description="`true`: the app gets the path without `match.path_prefix`; or a prefix."
    )
    replace_prefix: PathOrNone = Field(
        default="", description="The path that stands in the place of the stripped prefix."
    )
    host: NewHost = Field(default="", description="The Host that the app gets.")
    request_headers: FieldsSettings = FieldsSettings()
    response_headers: FieldsSettings = FieldsSettings()
    timeouts: OwnTimeouts = OwnTimeouts()
    retry: OwnRetry = OwnRetry()
    limits: OwnLimits = OwnLimits()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        answers = [name for name in ("pool", "split", "redirect", "respond") if getattr(self, name)]
        if not answers:
            raise ValueError("has neither a pool nor a split nor a redirect nor a respond; write one of them")
        if len(answers) > 1:
            raise ValueError(f"has {' and '.join(answers)}; keep one of them")
        if not self.pools:
            for name in ("strip_prefix", "replace_prefix", "host", "request_headers", "retry"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"has {name}, which has no effect without a pool; remove it")
        if (self.strip_prefix is True or self.replace_prefix) and not self.match.path_prefix:
            raise ValueError("has no match.path_prefix that could be stripped; add one")
        return self

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that serve it."""
        if self.split is not None:
            return tuple(self.split.sides)
        return (self.pool,) if self.pool else ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes to strip."""
        if isinstance(self.strip_prefix, str):
            return (self.strip_prefix,)
        return self.match.path_prefix if self.strip_prefix or self.replace_prefix else ()


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
        if not text.startswith(("[", "{")):
            return [_short(item) for each in text.split(",") if (item := each.strip())]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise RouteError(f"is not valid JSON; write a list of routes, or {_EXAMPLE}, /=web") from None
    if isinstance(value, Mapping):
        raise RouteError("is a mapping, not a list; write one route below the other, each with a - in front")
    if not isinstance(value, list | tuple):
        raise RouteError(f"is no list of routes; write {_EXAMPLE}, /=web")
    return [_short(each) if isinstance(each, str) else each for each in value]


def named(routes: tuple[RouteSettings, ...]) -> tuple[RouteSettings, ...]:
    """The routes, each with a name. Raises RouteError if two were given the same."""
    given = Counter(route.name for route in routes if route.name)
    for name, count in given.items():
        if count > 1:
            raise RouteError(f"has {count} routes called {name}; give each its own name")
    taken = set(given)
    done = []
    for route in routes:
        if not route.name:
            stem = "-".join(route.pools) or ("redirect" if route.redirect else "respond")
            name, number = stem, 1
            while name in taken:
                number += 1
                name = f"{stem}-{number}"
            taken.add(name)
            route = route.model_copy(update={"name": name})
        done.append(route)
    return tuple(done)


def _dumped(routes: tuple[RouteSettings, ...]) -> list[dict[str, Any]]:
    return [route.model_dump(mode="json", exclude_defaults=True) for route in routes]


Routes = Annotated[
    tuple[RouteSettings, ...],
    AfterValidator(named),
    BeforeValidator(parse_routes),
    PlainSerializer(_dumped, when_used="json"),
]
