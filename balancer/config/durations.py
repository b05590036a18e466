"""Durations as written in settings (L1). Not in `types`, whose pydantic the supervisor does not load."""

import re
from decimal import Decimal

from balancer.config.written import NO_LIMIT, plain, refuse_leading_zero

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)?")
_LARGEST = 10**9  # numbers have at most nine digits
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> float:
    """Seconds from `2`, `0.5`, `500ms`, `2s`, `1m`, `1h`, `1d`, or from a plain number of seconds."""
    text = plain(value)
    refuse_leading_zero(text.rstrip("mshd "))
    match = _DURATION.fullmatch(text)
    if match is None and text.lower() in NO_LIMIT:
        raise ValueError("is not a duration; if the time can be turned off, 0 does that")
    if match is None:
        raise ValueError("is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h, 1d")
    number, unit = float(match[1]), match[2]
    return number / 1000 if unit == "ms" else number * _SECONDS.get(unit, 1)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as exactly `seconds`."""
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    milliseconds = round(seconds * 1000)
    if 0 < milliseconds < _LARGEST and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    if 0 < seconds < 1:
        shorter = f"{seconds * 1000:.9f}".rstrip("0").rstrip(".") + "ms"
        if parse_duration(shorter) == seconds:
            return shorter
    # repr() is the shortest decimal that reads back as the same float; Decimal writes it without exponent.
    return f"{Decimal(repr(float(seconds))):f}s" if seconds else "0s"
