"""What a route asks of a request (L1)."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from balancer.config.address import parse_host_name
from balancer.config.group import Group
from balancer.config.types import CommaList, Methods, check_path, parse_fields

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


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


Prefix = Annotated[str, AfterValidator(_check_prefix)]
PathOrNone = Annotated[str, AfterValidator(_check_path)]
HostPattern = Annotated[str, AfterValidator(_check_host)]
Values = Annotated[dict[str, str], AfterValidator(_check_values), BeforeValidator(parse_fields)]
FieldValues = Annotated[dict[str, str], AfterValidator(_check_field_names), BeforeValidator(parse_fields)]


class MatchSettings(Group):
    """What a request must have; empty = anything."""

    host: Annotated[tuple[HostPattern, ...], CommaList] = Field(
        default=(), description="Hosts, without port; `*.example.com` is every host below example.com."
    )
    path: PathOrNone = Field(default="", description="The whole path.")
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
