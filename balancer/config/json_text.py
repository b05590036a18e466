"""Values that are written as JSON, in the environment (L1)."""

import json
from collections import Counter
from typing import Any

from balancer.config.written import is_text


class _RepeatedKeyError(Exception):
    """Of an object's keys, one is there twice: JSON leaves open which one counts (RFC 8259 section 4)."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKeyError(
            next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        )
    return found


def from_json(text: str, remedy: str) -> Any:
    """The value of a JSON text. Raises ValueError, with `remedy` for one that is none."""
    try:
        value = json.loads(text, object_pairs_hook=_each_key_once)
        written = is_text(value)
    except _RepeatedKeyError as error:
        raise ValueError(f"has the key {json.dumps(str(error))} twice; keep one of them") from None
    except (ValueError, RecursionError):
        raise ValueError(f"is not valid JSON; {remedy}") from None
    if not written:  # "\\ud800" is valid JSON
        raise ValueError("has characters that are not UTF-8 text; write it again")
    return value
