"""The formats of values in the settings (L1): durations, sizes, statuses, lists, JSON objects, names.

Every validator here raises a `ValueError` whose text continues the sentence that `problems` begins with the
setting's name and value: `BALANCER_TIMEOUTS__CONNECT: "fast"` + ` is not a duration; ...`.
"""

import json
import re
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr

from balancer.config.durations import format_duration, parse_duration
from balancer.config.json_text import from_json
from balancer.config.readable import about_key
from balancer.config.written import (
    MOST,
    NO_LIMIT,
    parse_number,
    parse_whole,
    plain,
    refuse_leading_zero,
    trimmed,
)

MASK = "**********"  # as pydantic writes a SecretStr


def check_secret_token(token: SecretStr) -> SecretStr:
    """Refuse the mask, and what a header cannot carry."""
    text = token.get_secret_value()
    if text == MASK:
        raise ValueError("is the mask that replaces a secret in output; write the secret itself")
    if not all("!" <= each <= "~" for each in text):
        raise ValueError("has characters that a header cannot carry; write visible ASCII, without spaces")
    return token


SecretToken = Annotated[SecretStr, AfterValidator(check_secret_token)]

_SIZE = re.compile(r"([0-9]{1,12})\s*([kKmMgG])?")
_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]{1,32}")  # as the proxy accepts them, but only capitals
_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_size(value: object) -> int:
    """Bytes from `8192`, `8k`, `64M`, `1G`; k is 1024."""
    text = plain(value)
    refuse_leading_zero(text.rstrip("kKmMgG "))
    match = _SIZE.fullmatch(text)
    if match is None and text.lower() in NO_LIMIT:
        raise ValueError("is not a size; if the setting may have no cap, write 0")
    if match is None:
        raise ValueError("is not a size; write bytes (8192) or 8k, 64M, 1G (k = 1024)")
    size = int(match[1]) * _BYTES.get((match[2] or "").lower(), 1)
    if size > MOST:
        raise ValueError(f"is too large; the maximum is {format_size(MOST)}")
    return size


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads back as `size`."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


BARE = re.compile(r"\[[0-9A-Fa-f]*:[0-9A-Fa-f.]*:")  # a bare list may begin with an IPv6 address


def split_list(value: object) -> object:
    """The items of `a, b` or of the JSON list `["a", "b"]`; a value of another type is returned as is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("[") and BARE.match(text) is None:
        return trimmed(from_json(text, _as_list(text)))
    return [item.strip() for item in text.split(",") if item.strip()]


def _as_list(text: str) -> str:
    """The correct spelling of a list in brackets that is not JSON."""
    items = [item.strip().strip("\"'") for item in text.strip("[] ").split(",")]
    if not all(re.fullmatch(r"[^\s\"'\[\]{}]+", item) for item in items) or len(text) > _LONGEST_REMEDY:
        return 'write a,b or ["a", "b"]'
    return f"write {','.join(items)} or {json.dumps(items)}"


_LONGEST_REMEDY = 100  # characters of a value that a remedy repeats


def parse_object(value: object) -> object:
    """The mapping from a JSON object in a string; a value of another type is returned as is."""
    return from_json(value, _as_object(value)) if isinstance(value, str) else value


def _as_object(text: str) -> str:
    match = re.fullmatch(r"([a-z_]{1,40})\s*[:=]\s*([a-z0-9.]{1,20})", text.strip())
    shown = f'{{"{match[1]}": {match[2]}}}' if match else 'an object such as {"bounded_load": 1.25}'
    return f"write {shown}"


def parse_fields(value: object) -> object:
    """Header fields from a mapping, or from a JSON object in a string. White space around a value is not part
    of it (RFC 9110 section 5.5)."""
    if isinstance(value, str):
        value = from_json(value, _as_fields(value))
    return trimmed(value)


def parse_texts(value: object) -> object:
    """As `parse_fields`, with the text of whole numbers and booleans, as YAML has it."""
    values = parse_fields(value)
    return (
        {name: _text_of(name, each) for name, each in values.items()} if isinstance(values, dict) else values
    )


def _text_of(name: object, value: object) -> str:
    if not isinstance(name, str):
        raise ValueError("has a name that is not text; put it in quotes")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"has a value of {name} that is not text; put it in quotes")
    return value


def _as_fields(text: str) -> str:
    # The value may be a secret: only the name is repeated.
    name = text.partition(":")[0].strip()
    if _TOKEN.fullmatch(name) is None or name.lower() == "host":
        return 'write an object such as {"Host": "app.example"}'
    return f'write an object such as {{"{name}": "..."}}'


_STATUSES = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_CLASS = re.compile(r"[1-5][xX]{2}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")
_FRAMING = frozenset(["content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"])
_NAMED_KEYS = ("header", "cookie", "query")


def parse_statuses(value: object) -> object:
    """Ranges of statuses, both ends included, from `200-399`, `200,204,301-302`, a list, or one number."""
    items = split_list(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    if not isinstance(items, list | tuple) or not items:
        raise ValueError("names no status; write 200-399 or 200,204")
    ranges = []
    for item in items:
        if isinstance(item, tuple):
            ranges.append(item)
            continue
        text = str(item).strip()
        if _CLASS.fullmatch(text):
            raise ValueError(
                f"has an item that is neither a status nor a range ({item}); write {text[0]}00-{text[0]}99"
            )
        match = _STATUSES.fullmatch(text)
        if match is None:
            raise ValueError(
                f"has an item that is neither a status nor a range ({item}); write 200-399 or 200,204"
            )
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise ValueError(f"has a range that runs backwards ({item}); write {high}-{low}")
        ranges.append((low, high))
    return tuple(ranges)


def parse_status_list(value: object) -> object:
    """Single statuses, from `502,503` or a list."""
    items = split_list(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    if not isinstance(items, list | tuple):
        raise ValueError("is not a list of statuses; write 502,503")
    for item in items:
        match = _STATUSES.fullmatch(str(item).strip())
        if _CLASS.fullmatch(str(item)) or (match is not None and match[2]):
            raise ValueError(f"has a range of statuses ({item}); write each of them: 502,503")
        if match is None or int(match[1]) < 400:
            raise ValueError(
                f"has an item that is not an error status ({item}); write 502,503, or [] for none"
            )
    return tuple(int(str(item)) for item in items)


def parse_methods(value: object) -> object:
    """Methods, from `GET,PUT` or a list."""
    items = split_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError("is not a list of methods; write GET,HEAD")
    for item in items:
        if not isinstance(item, str) or _METHOD.fullmatch(item) is None:
            raise ValueError(f"has an item that is not a method ({item}); methods are in capitals: GET,HEAD")
    return tuple(items)


def format_statuses(ranges: tuple[tuple[int, int], ...]) -> str:
    """What `parse_statuses` reads back as `ranges`."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def check_path(path: str) -> str:
    """An origin-form target (RFC 9112 section 3.2.1), checked as far as possible without knowing the app."""
    if "://" in path.partition("?")[0]:
        rest = path.partition("://")[2]
        raise ValueError(f"is a URL; write its path alone: /{rest.partition('/')[2]}")
    if not path.startswith("/"):
        raise ValueError(f"is not a path; write /{path}")
    if _VISIBLE.fullmatch(path) is None or "#" in path:
        raise ValueError("has characters that a path cannot have; percent-encode them")
    return path


def check_fields(fields: dict[str, str]) -> dict[str, str]:
    """Header fields that can be sent unchanged (RFC 9110 section 5), and do not affect the framing."""
    for name, value in fields.items():
        if name.lower() in _FRAMING:
            raise ValueError(f"has {name}, which the check sets itself; remove it")
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"has an invalid field name ({name})")
        if _FIELD_VALUE.fullmatch(value) is None:
            raise ValueError(f"has characters in {name} that a header field cannot have")
    return fields


def check_token(text: str) -> str:
    """A token (RFC 9110 section 5.6.2), such as the name of a field or a cookie."""
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("has characters that a cookie name cannot have; write letters, digits, _ and -")
    return text


def check_hash_key(key: str) -> str:
    """`client_ip`, `path`, or `header:NAME`, `cookie:NAME`, `query:NAME`."""
    kind, colon, name = (part.strip() for part in key.partition(":"))
    if key in ("client_ip", "path"):
        return key
    kind = kind.lower()
    if kind not in _NAMED_KEYS or not colon:
        raise ValueError("is not known; write client_ip, header:NAME, cookie:NAME, query:NAME or path")
    if not name or (kind != "query" and _TOKEN.fullmatch(name) is None):
        raise ValueError(f"has no {kind} name after the colon; write {kind}:NAME")
    if kind == "header" and (why := about_key(name)) is not None:
        raise ValueError(f"names {name}, {why}")
    return f"{kind}:{name}"


Duration = Annotated[
    float, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")
]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
Count = Annotated[int, BeforeValidator(parse_whole)]
Number = Annotated[float, BeforeValidator(parse_number)]


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options that can be sent to a worker: messages are JSON with 64-bit numbers."""
    try:
        orjson.dumps(options)
    except TypeError:
        raise ValueError("has a number of more than 64 bits, or invalid text; write it again") from None
    return options


JsonObject = Annotated[dict[str, Any], AfterValidator(check_options), BeforeValidator(parse_object)]
CommaList = BeforeValidator(split_list)
Headers = Annotated[dict[str, str], AfterValidator(check_fields), BeforeValidator(parse_fields)]
StatusRanges = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(parse_statuses),
    PlainSerializer(format_statuses, when_used="json"),
]
# Methods of requests that may reach an app twice (RFC 9110 section 9.2.2).
IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
Methods = Annotated[tuple[str, ...], BeforeValidator(parse_methods)]
Statuses = Annotated[tuple[int, ...], BeforeValidator(parse_status_list)]
# Shown as `on` and `off`, as in YAML; pydantic reads them, and true and false.
Switch = Annotated[bool, PlainSerializer(lambda on: "on" if on else "off", when_used="json")]


def lower(value: object) -> object:
    """For words that may be written in any case."""
    return value.strip().lower() if isinstance(value, str) else value
