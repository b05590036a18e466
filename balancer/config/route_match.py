"""What a route asks of a request (L1)."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from balancer.config.address import parse_host_name
from balancer.config.group import Group
from balancer.config.route_conditions import CookieValues, FieldValues, QueryValues
from balancer.config.route_paths import PathOrNone, Prefix
from balancer.config.types import CommaList, Methods


def _check_host(text: str) -> str:
    if text == "*":
        raise ValueError("is every host; leave it out: /=web")
    star, dot, rest = text.partition(".")
    if star == "*" and dot and "*" not in rest:
        return f"*.{_host_name(rest)}"
    if "*" in text:
        raise ValueError("has a wildcard that is not its first label; write *.example.com")
    return _host_name(text)


def _host_name(text: str) -> str:
    name = parse_host_name(text)
    return f"[{name}]" if ":" in name else name


HostPattern = Annotated[str, AfterValidator(_check_host)]


_ONE_OF = {
    "host": "a host",
    "path": "a path",
    "path_prefix": "a prefix",
    "methods": "a method",
    "headers": "a field",
    "query": "a parameter",
    "cookies": "a cookie",
}


class MatchSettings(Group):
    """What a request must have; unset = anything."""

    host: Annotated[tuple[HostPattern, ...], CommaList] = Field(
        default=(), description="Hosts, without port; `*.example.com` is every host below example.com."
    )
    path: PathOrNone = Field(default="", description="The whole path.")
    path_prefix: Annotated[tuple[Prefix, ...], CommaList] = Field(
        default=(), description="Beginnings of the path: `/api` is `/api` and what is below `/api/`."
    )
    methods: Methods = Field(default=(), description="Methods, such as `GET,HEAD`.")
    headers: FieldValues = Field(default={}, description="Header fields and their values; `*` is any value.")
    query: QueryValues = Field(default={}, description="Query parameters and their values; `*` is any value.")
    cookies: CookieValues = Field(default={}, description="Cookies and their values; `*` is any value.")

    @field_validator(*_ONE_OF)
    @classmethod
    def _asks_for_something(cls, value: object, info: ValidationInfo) -> object:
        # Written but empty, it may come from a variable that is not set: every request would match.
        if not value:
            raise ValueError(f"is empty; name {_ONE_OF[info.field_name or '']} or remove it")
        return value

    @model_validator(mode="after")
    def _one_kind_of_path(self) -> Self:
        if self.path and self.path_prefix:
            raise ValueError("has a path and a path_prefix; keep one of them")
        return self

    @property
    def has_conditions(self) -> bool:
        """Whether it looks at more than host and path."""
        return bool(self.methods or self.headers or self.query or self.cookies)
