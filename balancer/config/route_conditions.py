"""What a route asks of the header fields, the query and the cookies of a request (L1)."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from balancer.config.readable import IN_EVERY_REQUEST, about_field
from balancer.config.types import parse_texts

ANY_VALUE = "*"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_COOKIE_NAME = re.compile(r"[^\s=;\x00-\x1f\x7f]+")
_INSTEAD = {
    "host": "whose case and port would count; write match.host",
    "cookie": "which holds all cookies; write match.cookies",
}


def _check_query(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if not name or not name.isprintable():
            raise ValueError("has an empty or unprintable name")
    return values


def _check_cookies(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if _COOKIE_NAME.fullmatch(name) is None:
            raise ValueError(f"has a name that a cookie cannot have ({name}); write the name alone")
        if ";" in value or _CONTROLS.search(value):
            raise ValueError(f"has characters in {name} that the value of a cookie cannot have; remove them")
    return values


def _check_fields(values: dict[str, str]) -> dict[str, str]:
    seen = set()
    for name, value in values.items():
        lower = name.lower()
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"has an invalid field name ({name}); write names such as X-Beta")
        if lower in seen:
            raise ValueError(f"has {name} twice, with and without capitals; keep one of them")
        seen.add(lower)
        if (why := _INSTEAD.get(lower) or about_field(name)) is not None:
            raise ValueError(f"has {name}, {why}")
        if _CONTROLS.search(value):
            raise ValueError(f"has characters in {name} that a header field cannot have; remove them")
        if value == ANY_VALUE and lower in IN_EVERY_REQUEST:
            raise ValueError(f"has any {name}, which every request has; write a value, or remove it")
        if lower == "upgrade" and value.lower() not in ("websocket", ANY_VALUE):
            raise ValueError("has an Upgrade that is not forwarded; write websocket")
    return {name: value.lower() if name.lower() == "upgrade" else value for name, value in values.items()}


QueryValues = Annotated[dict[str, str], AfterValidator(_check_query), BeforeValidator(parse_texts)]
CookieValues = Annotated[dict[str, str], AfterValidator(_check_cookies), BeforeValidator(parse_texts)]
FieldValues = Annotated[dict[str, str], AfterValidator(_check_fields), BeforeValidator(parse_texts)]
