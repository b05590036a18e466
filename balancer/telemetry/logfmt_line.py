"""One line of the access log in logfmt (L2): `time=2026-02-01T12:00:00.123Z status=200 ...`.

The same fields as in JSON, and the same values: they are quoted, as JSON strings are, unless they are plain
words; a list is quoted JSON. Parsers of logfmt read that.
"""

import re
from typing import Final

import orjson

from balancer.telemetry.log_entry import Entry
from balancer.telemetry.log_line import LineRenderer

_PLAIN: Final = re.compile(r'"([^\s"=\\\x00-\x20\x7f-\xa0]+)"')
_NULL: Final = "null"


class LogfmtRenderer:
    """Renders lines with fields in the given order; fields without a value are left out."""

    __slots__ = ("_fields", "_json")

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._json = LineRenderer(fields)

    def render(self, entry: Entry) -> str:
        """The line, without newline; it has no control characters."""
        values = self._json.values(entry)
        parts = [f"{name}={_plain(value)}" for name in self._fields if (value := values[name]) != _NULL]
        return " ".join(parts)


def _plain(value: str) -> str:
    """A JSON value as logfmt writes it."""
    if value[0] == '"':
        match = _PLAIN.fullmatch(value)
        return match[1] if match else value
    if value[0] == "[":
        return orjson.dumps(value).decode()
    return value
