"""Paths in the settings of routes (L1): in the normal form that requests have when they are matched."""

import re
from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

from pydantic import AfterValidator

from balancer.config.types import check_path

# No request has these when it is matched: it was refused, or they were changed (http/normal_path).
_HIDDEN = re.compile(r"%2[fF]|%5[cC]|%3[bB]|%(?![0-9A-Fa-f]{2})|\\|;|//")
_CONTROLS = re.compile(r"%(?:[01][0-9A-Fa-f]|7[fF])")
_SLASHES = re.compile(r"%2[fF]|%5[cC]|\\")  # as some apps read them
_PARAMETERS = re.compile(r"(?:;|%3[bB])[^/]*")
_INCOMPLETE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS = re.compile(r"%2[eE]")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
_KEPT = re.compile(r"%(?=2[fF5])")


def matched_form(path: str) -> bytes:
    """A path as routes compare it, as in http/normal_path: percent-decoded but for %2F and %25."""
    return unquote_to_bytes(_KEPT.sub("%25", path))


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix, or below it."""
    form, above = matched_form(path), matched_form(prefix).rstrip(b"/")
    return form == above or form.startswith(above + b"/")


def check_prefix(path: str) -> str:
    """A path in normal form. Raises ValueError for one that no request could have."""
    if path.startswith("/") and (encoded := quote(path, safe=_VISIBLE)) != path:
        raise ValueError(f"has characters that a path cannot have; write {encoded}")
    check_path(path)
    if "?" in path:
        raise ValueError("has a query; write the path alone, and match.query")
    if "*" in path:
        raise ValueError(f"has a wildcard; a prefix needs none: write {path.partition('*')[0] or '/'}")
    if _CONTROLS.search(path):
        raise ValueError("has encoded control characters; write a path without them")
    segments = matched_form(path).split(b"/")
    if _HIDDEN.search(path) or b"." in segments or b".." in segments:
        raise ValueError(f"is not in normal form, so no request could have it; write {_normal(path)}")
    return path


def _normal(path: str) -> str:
    """What is meant by a path that no request has."""
    path = _PARAMETERS.sub("", _SLASHES.sub("/", _INCOMPLETE.sub("%25", path)))
    kept: list[str] = []
    name = ""
    for segment in path.split("/"):
        name = _DOTS.sub(".", segment)
        if name == "..":
            del kept[-1:]
        elif segment and name != ".":
            kept.append(segment)
    end = "/" if kept and name in ("", ".", "..") else ""
    return f"/{'/'.join(kept)}{end}"


def _check_path(path: str) -> str:
    return check_prefix(path) if path else path


Prefix = Annotated[str, AfterValidator(check_prefix)]
PathOrNone = Annotated[str, AfterValidator(_check_path)]
