"""Differences of two JSON trees as a merge patch (L5), RFC 7396."""

from collections.abc import Mapping
from typing import Any


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What turns `before` into `after`: changed members, and None for those that are gone. Empty if they are
    the same.

    None in `after` is the same as a member that is missing, for RFC 7396 has no patch that says null: who
    applies it reads a missing member as null.
    """
    patch: dict[str, Any] = {}
    for key, value in after.items():
        was = before.get(key)
        if was is value or was == value:
            continue
        if isinstance(value, dict) and isinstance(was, dict):
            inner = merge_patch(was, value)
            if inner:
                patch[key] = inner
        else:
            patch[key] = value
    for key, was in before.items():
        if was is not None and key not in after:
            patch[key] = None
    return patch
