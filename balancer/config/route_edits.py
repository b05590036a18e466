"""What a route changes in the heads of requests and responses (L1)."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from balancer.config.group import Group
from balancer.config.types import MASK, CommaList, parse_texts

VARIABLES = ("client_ip", "host", "path", "request_id", "scheme", "uri")  # as in http.edits: a test compares
_OTHER_NAMES = {"request_uri": "uri", "remote_addr": "client_ip", "http_host": "host", "proxy_host": "host"}
_DOLLAR = re.compile(r"\$(\$|[A-Za-z0-9_]*)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_SCHEME = re.compile(r"(?:[A-Za-z]+:|\$scheme:)?//")
_NEW_HOST = re.compile(r"(?:[A-Za-z0-9._-]|\$(?!uri|path)[a-z_]+)+(?::([0-9]{1,5}))?")
_MOST_PORT = 65535
# A host and a port, then the end, or what ends them: $uri and $path begin with a slash.
_AUTHORITY = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*|(?:[A-Za-z0-9._-]*[.-])?\$host(?:[.-][A-Za-z0-9._-]*)?)"
    r"(?::[0-9]{1,5})?(?:\Z|(?=[/?#]|\$uri|\$path))"
)
# Written by the balancer itself, or about one connection only (RFC 9110 section 7.6.1).
_OURS = frozenset(
    (
        *("connection", "content-length", "date", "host", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via", "x-request-id"),
    )
)


def check_variables(text: str) -> str:
    """A text in which every `$` begins a variable, or is doubled."""
    for found in _DOLLAR.finditer(text):
        name: str = found[1]
        if name != "$" and name not in VARIABLES:
            if name in _OTHER_NAMES:
                raise ValueError(f"has ${name}, which is no variable here; write ${_OTHER_NAMES[name]}")
            known = ", ".join(f"${one}" for one in VARIABLES)
            raise ValueError(f"has ${name}, which is no variable; write {known}, or $$ for a dollar sign")
    return text


def check_target(text: str) -> str:
    """A Location. Raises ValueError for a URL whose host a client could choose: a variable other than `$host`
    in it, or none at all."""
    check_variables(text)
    start = _SCHEME.match(text)
    if start is not None and _AUTHORITY.match(text, start.end()) is None:
        why = f"has no host after {start[0]}, or one that clients choose"
        raise ValueError(f"{why}; write https://www.example.com$uri or https://$host$uri")
    return text


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
        if value == MASK:
            raise ValueError(f"has the mask of a secret in {name}; write the secret itself")
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"has characters in {name} that a header field cannot have")
        check_variables(value)
        if name.lower() == "location":
            check_target(value)
    return fields


def _check_removed(names: tuple[str, ...]) -> tuple[str, ...]:
    _check_changed(names)
    return names


def _check_new_host(text: str) -> str:
    check_variables(text)
    found = _NEW_HOST.fullmatch(text)
    if text and (found is None or int(found[1] or 0) > _MOST_PORT):
        raise ValueError("is not a Host; write app.example or app.example:8080")
    return text


EditedFields = Annotated[dict[str, str], AfterValidator(_check_fields), BeforeValidator(parse_texts)]
NewHost = Annotated[str, AfterValidator(_check_new_host)]


class FieldsSettings(Group):
    """Changes of header fields. Values may have variables, such as `$client_ip`."""

    set: EditedFields = Field(default={}, description="Replaces all fields of the name.")
    add: EditedFields = Field(default={}, description="Adds a field.")
    remove: Annotated[tuple[str, ...], AfterValidator(_check_removed), CommaList] = Field(
        default=(), description="Removes all fields of the name."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = Counter(name.lower() for name in (*self.set, *self.remove))
        for name, count in named.items():
            if count > 1:
                raise ValueError(f"names {name} twice in set and remove; keep one of them")
        return self
