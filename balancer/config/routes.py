"""Routes (L1): which requests go to which pool, what is changed on the way, and what is answered here."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from balancer.config.group import Group
from balancer.config.route_answers import Redirect, Respond
from balancer.config.route_edits import FieldsSettings, NewHost
from balancer.config.route_match import MatchSettings
from balancer.config.route_paths import PathOrNone, check_prefix, is_below
from balancer.config.route_text import parse_route, parse_routes
from balancer.config.slo import OwnSlo
from balancer.config.split import Split
from balancer.config.types import Count, Duration, Methods, Size, Statuses

UNMATCHED = "unmatched"  # the route of requests that no other matches
_SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_LONGEST_NAME = 64
_ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _check_name(name: str) -> str:
    if name == UNMATCHED:
        raise ValueError("is the name of the route of requests that no other matches; choose another name")
    if _ROUTE_NAME.fullmatch(name) is None:
        raise ValueError("is no name for a route; write letters, digits, dots, - and _, at most 64")
    return name


def _parse_stripped(value: object) -> object:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if not text:
        raise ValueError("is neither true nor a path; write true, or the path to take off: /api")
    return _SWITCH[text] if text in _SWITCH else check_prefix(str(value).strip())


class OwnTimeouts(Group):
    """A route's own timeouts; unset ones are those of its pool."""

    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None
    tunnel_idle: Duration | None = None
    tunnel_drain: Duration | None = None


class OwnRetry(Group):
    """A route's own rules for retries; unset ones are those of its pool. The budget is the pool's."""

    max_attempts: Annotated[Count, Field(ge=1, le=100)] | None = None
    statuses: Statuses | None = None
    methods: Methods | None = None
    replay_bytes: Annotated[Size, Field(le=64 << 20)] | None = None


class OwnLimits(Group):
    """A route's own limits; unset ones are those of its pool."""

    body_bytes: Size | None = None


_NEEDS_A_POOL = (
    "strip_prefix", "replace_prefix", "host", "request_headers", "timeouts", "retry", "limits",
    "slo",
)  # fmt: skip


class RouteSettings(Group):
    """One route: what it matches, and who answers."""

    name: Annotated[str, AfterValidator(lambda name: _check_name(name) if name else name)] = Field(
        default="", description="Its name in metrics and logs; if unset, that of its pool."
    )
    match: MatchSettings = MatchSettings()
    pool: str = Field(default="", description="The pool that serves it.")
    split: Split = None
    redirect: Redirect = None
    respond: Respond = None
    strip_prefix: Annotated[bool | str, BeforeValidator(_parse_stripped)] = Field(
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
    slo: OwnSlo = OwnSlo()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        answers = [name for name in ("pool", "split", "redirect", "respond") if getattr(self, name)]
        if not answers:
            raise ValueError("has neither a pool nor a split nor a redirect nor a respond; write one of them")
        if len(answers) > 1:
            raise ValueError(f"has {' and '.join(answers)}; keep one of them")
        if not self.pools:
            for name in _NEEDS_A_POOL:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"has {name}, which has no effect without a pool; remove it")
        self._strips_something()
        return self

    def _strips_something(self) -> None:
        """Raises ValueError if a prefix is to be stripped that no path has, or none although it is to be
        replaced."""
        if self.replace_prefix and self.strip_prefix is False and "strip_prefix" in self.model_fields_set:
            raise ValueError("has a replace_prefix, but strip_prefix is false; remove one of them")
        if not (self.strip_prefix or self.replace_prefix):
            return
        if not self.prefixes:
            raise ValueError("has no match.path_prefix that could be stripped; add one")
        if not self.replace_prefix and all(prefix == "/" for prefix in self.prefixes):
            raise ValueError("has strip_prefix, which has no effect for /; remove it")
        if isinstance(self.strip_prefix, str):
            above = (self.match.path,) if self.match.path else self.match.path_prefix or ("/",)
            may_have = any(
                is_below(path, self.strip_prefix)
                or (not self.match.path and is_below(self.strip_prefix, path))
                for path in above
            )
            if not may_have:
                text = f"has a strip_prefix ({self.strip_prefix}) that none of its paths begins with"
                raise ValueError(f"{text}; write true, or a beginning of {' or '.join(above)}")

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that serve it."""
        if self.split is not None:
            return tuple(self.split.sides)
        return (self.pool,) if self.pool else ()

    @property
    def without_tls(self) -> bool:
        """Whether it matches only requests whose client does not speak TLS."""
        return self.redirect is not None and self.redirect.only_adds_tls

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes to strip."""
        if isinstance(self.strip_prefix, str):
            return (self.strip_prefix,)
        return self.match.path_prefix if self.strip_prefix or self.replace_prefix else ()


def named(routes: tuple[RouteSettings, ...]) -> tuple[RouteSettings, ...]:
    """The routes, each with a name: the second one to the pool `api` is `api-2`."""
    taken = {route.name for route in routes}
    numbers: Counter[str] = Counter()
    done = []
    for route in routes:
        if not route.name:
            stem = name = _joined(route.pools) or ("redirect" if route.redirect else "respond")
            while name in taken:
                numbers[stem] += 1
                name = f"{stem}-{numbers[stem] + 1}"
            taken.add(name)
            route = route.model_copy(update={"name": name})
        done.append(route)
    return tuple(done)


def readable(items: Sequence[object]) -> list[tuple[int, RouteSettings]]:
    """Those of the items of a list of routes that are routes, each with its number, from 1."""
    found = []
    for number, item in enumerate(items, 1):
        with suppress(ValidationError):
            found.append((number, _ROUTE.validate_python(item)))
    routes = named(tuple(route for _, route in found))
    return [(number, route) for (number, _), route in zip(found, routes, strict=True)]


def _joined(pools: tuple[str, ...]) -> str:
    """A name for a route to these pools, with room for a number behind it."""
    name = "-".join(pools)
    return name if len(name) < _LONGEST_NAME - 5 else f"{pools[0]}-and-{len(pools) - 1}-more"


def _dumped(routes: tuple[RouteSettings, ...]) -> list[dict[str, Any]]:
    return [route.model_dump(mode="json", exclude_defaults=True) for route in routes]


_Route = Annotated[RouteSettings, BeforeValidator(parse_route)]
_ROUTE: TypeAdapter[RouteSettings] = TypeAdapter(_Route)
Routes = Annotated[
    tuple[_Route, ...],
    AfterValidator(named),
    BeforeValidator(parse_routes),
    PlainSerializer(_dumped, when_used="json"),
]
