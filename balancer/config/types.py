"""What a value in the settings may look like (L1): durations, sizes, whole numbers, lists, JSON objects.

Every validator here raises a `ValueError` whose text continues the sentence that `problems` starts with the
setting's name and value: `BALANCER_TIMEOUTS__CONNECT: "fast"` + ` is not a duration; ...`.
"""

import json
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h)?")
_SECONDS = {"m": 60, "h": 3600}
_SIZE = re.compile(r"([0-9]{1,12})\s*([kKmMgG])?")
_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_duration(value: object) -> float:
    """Seconds from `2`, `0.5`, `500ms`, `2s`, `1m`, `1h`, or from a plain number of seconds."""
    text = _plain(value)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h")
    number, unit = float(match[1]), match[2]
    return number / 1000 if unit == "ms" else number * _SECONDS.get(unit, 1)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as exactly `seconds`."""
    for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    milliseconds = round(seconds * 1000)
    if seconds and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    # repr() is the shortest decimal that reads back as the same float; Decimal spells it without exponent.
    return f"{Decimal(repr(float(seconds))):f}s" if seconds else "0s"


def parse_size(value: object) -> int:
    """Bytes from `8192`, `8k`, `64M`, `1G`; k is 1024."""
    match = _SIZE.fullmatch(_plain(value))
    if match is None:
        raise ValueError("is not a size; write bytes (8192) or 8k, 64M, 1G (k = 1024)")
    return int(match[1]) * _BYTES.get((match[2] or "").lower(), 1)


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads back as `size`."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


_IP_LITERAL = re.compile(r"\s*\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]:")  # a bare list may begin with one


def split_list(value: object) -> object:
    """The items of `a, b` or of the JSON list `["a", "b"]`; what is no string passes as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("[") and _IP_LITERAL.match(value) is None:
        return _from_json(value, 'write a,b or ["a", "b"]')
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_object(value: object) -> object:
    """The mapping behind a JSON object in a string; what is no string passes as it is."""
    return _from_json(value, 'write an object such as {"choices": 2}') if isinstance(value, str) else value


def _plain(value: object) -> str:
    # bool is an int to Python, and `timeout: yes` is True to YAML
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("is not a whole number")
    return value


def _from_json(text: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"is not valid JSON; {remedy}") from None


Duration = Annotated[
    float, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")
]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
Count = Annotated[int, BeforeValidator(_no_bool)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(parse_object)]
CommaList = BeforeValidator(split_list)
