"""Routes (L1): which requests go to which pool, what is changed on the way, and what is answered here.

There is a short form for the environment, `/api/=api, static.example.com/=static, /=web`, and a long form in
JSON or YAML. Nowhere is there a regular expression: a pattern that backtracks would stop a whole worker.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from balancer.config.address import parse_host_name
from balancer.config.group import Group
from balancer.config.split import Split
from balancer.config.types import (
    CommaList,
    Count,
    Duration,
    Methods,
    Size,
    Statuses,
    check_path,
    parse_fields,
)
from balancer.config.written import plain

VARIABLES = ("client_ip", "host", "path", "request_id", "scheme", "uri")  # as in http.edits: a test compares
UNMATCHED = "unmatched"  # the route of requests that no other matches
MOST_BODY = 64 * 1024
_EXAMPLE = "/api/=api"

_DOLLAR = re.compile(r"\$(\$|[A-Za-z0-9_]*)")
_ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_LOCATION = re.compile(r"(?:https?://|\$scheme://|/(?![/\\])|\$uri|\$path)[\x21-\x7e]*")
# Written by the balancer itself, or about one connection only (RFC 9110 section 7.6.1).
_OURS = frozenset(
    (
        *("connection", "content-length", "date", "host", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via", "x-request-id"),
    )
)
_NAMES_OF_FILES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


class RouteError(ValueError):
    """What is wrong with one of the routes: a sentence that names it."""


def check_variables(text: str) -> str:
    """A text in which every `$` begins a variable, or is doubled."""
    for found in _DOLLAR.finditer(text):
        name: str = found[1]
        if name != "$" and name not in VARIABLES:
            known = ", ".join(f"${one}" for one in VARIABLES)
            raise ValueError(f"has ${name}, which is no variable; write {known}, or $$ for a dollar sign")
    return text


def _check_prefix(path: str) -> str:
    check_path(path)
    if "?" in path:
        raise ValueError("has a query; write the path alone, and match.query")
    if "*" in path:
        raise ValueError(f"has a wildcard; a prefix needs none: write {path.partition('*')[0] or '/'}")
    segments = path.split("/")
    hidden = re.search(r"%2[fF]|%5[cC]|%00|\\|;|//", path) or "." in segments or ".." in segments
    if hidden or re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise ValueError("is not in normal form, so no request could have it; write /a/b")
    return path


def _check_path(path: str) -> str:
    return _check_prefix(path) if path else path


def _check_host(text: str) -> str:
    star, dot, rest = text.partition(".")
    if star == "*" and dot and "*" not in rest:
        return f"*.{_host_name(rest)}"
    if "*" in text:
        raise ValueError("has a wildcard that is not its first label; write *.example.com")
    return _host_name(text)


def _host_name(text: str) -> str:
    name = parse_host_name(text)
    return f"[{name}]" if ":" in name else name


def _check_values(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if not name or not name.isprintable():
            raise ValueError("has an empty or unprintable name")
    return values


def _check_field_names(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"has an invalid field name ({name})")
    return values


def _check_changed(names: Iterable[str]) -> None:
    for name in names:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"has an invalid field name ({name})")
        if name.lower() == "host":
            raise ValueError("has Host; the route's own setting `host` replaces it")
        if name.lower() in _OURS:
            raise ValueError(f"has {name}, which the balancer writes itself; remove it")


def _check_fields(fields: dict[str, str]) -> dict[str, str]:
    _check_changed(fields)
    for name, value in fields.items():
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"has characters in {name} that a header field cannot have")
        check_variables(value)
    return fields


def _check_removed(names: tuple[str, ...]) -> tuple[str, ...]:
    _check_changed(names)
    return names


def _check_location(text: str) -> str:
    if text == "https":
        return text
    if _LOCATION.fullmatch(text) is None:
        raise ValueError("is not a place to go to; write https, https://www.example.com$uri, or /path")
    return check_variables(text)


def _check_new_host(text: str) -> str:
    if text and not re.fullmatch(r"(?:[A-Za-z0-9._-]|\$[a-z_]+)+(?::[0-9]{1,5})?", text):
        raise ValueError("is not a Host; write app.example or app.example:8080")
    return check_variables(text)


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


def _parse_status(value: object) -> object:
    text = plain(value)
    return int(text) if text.isdigit() else value


def _parse_redirect(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


Prefix = Annotated[str, AfterValidator(_check_prefix)]
HostPattern = Annotated[str, AfterValidator(_check_host)]
Values = Annotated[dict[str, str], AfterValidator(_check_values), BeforeValidator(parse_fields)]
FieldValues = Annotated[dict[str, str], AfterValidator(_check_field_names), BeforeValidator(parse_fields)]
EditedFields = Annotated[dict[str, str], AfterValidator(_check_fields), BeforeValidator(parse_fields)]


class MatchSettings(Group):
    """What a request must have; empty = anything."""

    host: Annotated[tuple[HostPattern, ...], CommaList] = Field(
        default=(), description="Hosts, without port; `*.example.com` is every host below example.com."
    )
    path: Annotated[str, AfterValidator(_check_path)] = Field(default="", description="The whole path.")
    path_prefix: Annotated[tuple[Prefix, ...], CommaList] = Field(
        default=(), description="Beginnings of the path: `/api` is `/api` and what is below `/api/`."
    )
    methods: Methods = Field(default=(), description="Methods, such as `GET,HEAD`.")
    headers: FieldValues = Field(default={}, description="Header fields and their values; `*` is any value.")
    query: Values = Field(default={}, description="Query parameters and their values; `*` is any value.")
    cookies: Values = Field(default={}, description="Cookies and their values; `*` is any value.")

    @model_validator(mode="after")
    def _one_kind_of_path(self) -> Self:
        if self.path and self.path_prefix:
            raise ValueError("has a path and a path_prefix; keep one of them")
        return self

    @property
    def has_conditions(self) -> bool:
        """Whether it looks at more than host and path."""
        return bool(self.methods or self.headers or self.query or self.cookies)


class FieldsSettings(Group):
    """Changes of header fields. Values may have variables, such as `$client_ip`."""

    set: EditedFields = Field(default={}, description="Replaces all fields of the name.")
    add: EditedFields = Field(default={}, description="Adds a field.")
    remove: Annotated[tuple[str, ...], AfterValidator(_check_removed), CommaList] = Field(
        default=(), description="Removes all fields of the name."
    )


class RedirectSettings(Group):
    """A redirect instead of a pool."""

    to: Annotated[str, AfterValidator(_check_location)] = Field(
        description="Where to: `https` = the same URL over TLS, or a URL with variables, such as "
        "`https://www.example.com$uri`; `$uri` is path and query."
    )
    status: Annotated[Literal[0, 301, 302, 303, 307, 308], BeforeValidator(_parse_status)] = Field(
        default=0, description="The status; if unset, 308 to https, else 302."
    )

    @property
    def location(self) -> str:
        """The Location, with variables."""
        return "https://$host$uri" if self.to == "https" else self.to

    @property
    def chosen_status(self) -> int:
        """The status to send."""
        return self.status or (308 if self.to == "https" else 302)


class RespondSettings(Group):
    """A fixed response instead of a pool."""

    status: Count = Field(default=200, ge=200, le=599, description="The status.")
    text: str = Field(default="", description="The body.")
    file: str = Field(default="", description="File with the body, up to 64 KiB; read at start.")
    content_type: str = Field(
        default="", description="Content-Type; if unset, by the file's name, else plain text."
    )
    headers: EditedFields = Field(default={}, description="Further header fields, without variables.")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.text and self.file:
            raise ValueError("has a text and a file; keep one of them")
        if self.status in (204, 304) and (self.text or self.file):
            raise ValueError(f"has a body, which a {self.status} cannot have; remove it")
        if len(self.text.encode()) > MOST_BODY:
            raise ValueError("has a text of more than 64 KiB; let an app serve it")
        return self

    @property
    def chosen_type(self) -> str:
        """The Content-Type to send."""
        return self.content_type or _NAMES_OF_FILES.get(FilePath(self.file).suffix, _NAMES_OF_FILES[".txt"])

    def body(self) -> bytes:
        """The body. Raises ValueError for a file that cannot be sent."""
        if not self.file:
            return self.text.encode()
        try:
            body = FilePath(self.file).read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ValueError(f"cannot be read ({reason}); correct the path or mount the file") from None
        if len(body) > MOST_BODY:
            raise ValueError("is larger than 64 KiB; let an app serve it")
        return body


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
    redirect: Annotated[RedirectSettings | None, BeforeValidator(_parse_redirect)] = None
    respond: RespondSettings | None = None
    strip_prefix: Annotated[bool | Prefix, BeforeValidator(_parse_stripped)] = Field(
        default=False, description="`true`: the app gets the path without `match.path_prefix`; or a prefix."
    )
    replace_prefix: Annotated[str, AfterValidator(lambda path: _check_prefix(path) if path else path)] = (
        Field(default="", description="The path that stands in the place of the stripped prefix.")
    )
    host: Annotated[str, AfterValidator(_check_new_host)] = Field(
        default="", description="The Host that the app gets."
    )
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


def refuse_misfits(routes: tuple[RouteSettings, ...], pools: Iterable[str]) -> None:
    """Raise RouteError for a route to a pool that does not exist, and for one that can never match."""
    known = list(pools)
    seen: dict[tuple[str, str], RouteSettings] = {}  # routes without conditions, by host and prefix
    for number, route in enumerate(routes, 1):
        place = f"route {number} ({route.name})"
        for pool in route.pools:
            if pool not in known:
                there = f"the pools are {', '.join(known)}" if known else "there is no pool"
                raise RouteError(f"{place} names the pool {pool}, which does not exist; {there}")
        above = _all_taken_by(route.match, seen)
        if above is not None:
            raise RouteError(
                f"{place} never matches: {above.name}, above it, takes all of its requests; put it first"
            )
        if not route.match.has_conditions and not route.match.path:
            for host in route.match.host or ("",):
                for prefix in route.match.path_prefix or ("/",):
                    seen.setdefault((host, prefix.rstrip("/")), route)


def _all_taken_by(
    match: MatchSettings, seen: Mapping[tuple[str, str], RouteSettings]
) -> RouteSettings | None:
    """A route that takes every request that this one could match."""
    found = None
    for host in match.host or ("",):
        for path in match.path_prefix or (match.path or "/",):
            found = next(
                (
                    seen[each, prefix]
                    for each in _hosts_above(host)
                    for prefix in _prefixes_of(path)
                    if (each, prefix) in seen
                ),
                None,
            )
            if found is None:
                return None
    return found


def _hosts_above(host: str) -> list[str]:
    """The host patterns that include all of this one."""
    patterns = [host, ""] if host else [""]
    labels = host.removeprefix("*.").split(".")
    first = 0 if host.startswith("*.") else 1
    return [*patterns, *(f"*.{'.'.join(labels[at:])}" for at in range(first, len(labels)))]


def _prefixes_of(path: str) -> list[str]:
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[: at + 1]) for at in range(len(parts))]
