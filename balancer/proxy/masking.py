"""Hides what may be secret in a request, for explanations: names stay, values become `***`.

Values of queries and cookies are hidden wherever they stand. Of header fields only those are shown that
browsers, proxies and tools send about themselves: what an app calls its own fields, and what is secret in
them, nobody knows here.
"""

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "***"
_LONGEST: Final = 256  # bytes of a value
_MOST_FIELDS: Final = 48
_SHOWN: Final = frozenset(
    b"""accept accept-charset accept-encoding accept-language cache-control connection content-encoding
    content-length content-type expect forwarded host if-match if-modified-since if-none-match
    if-unmodified-since max-forwards origin pragma priority range referer te traceparent transfer-encoding
    upgrade user-agent via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip
    x-request-id""".split()
)
_SCHEMES: Final = frozenset((b"basic", b"bearer", b"digest", b"negotiate", b"ntlm"))
_USER: Final = re.compile(rb"(//)[^/?#\s@]*@")
_ODD: Final = re.compile(rb"[^\x21-\x7e]")


def masked_target(target: bytes) -> str:
    """A target without the values of its query. A part without `=` may be a value itself."""
    return _text(_without_values(target))


def masked_fields(lines: Iterable[bytes]) -> tuple[tuple[str, str], ...]:
    """Names and values of header lines, as far as they are shown."""
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((_text(name), masked_value(name.lower(), value.strip(b" \t"))))
        if len(fields) == _MOST_FIELDS:
            break
    return tuple(fields)


def masked_value(name: bytes, value: bytes) -> str:
    """The value of the field `name`, in lower case."""
    if name in _SHOWN:
        return _text(_without_values(value), spaces=True)
    if name in (b"cookie", b"set-cookie"):
        return _text(b"; ".join(_names_of(value)), spaces=True)
    scheme, space, _ = value.partition(b" ")
    if name.endswith(b"authorization") and space and scheme.lower() in _SCHEMES:
        return f"{_text(scheme)} {HIDDEN}"
    return HIDDEN


def _names_of(cookies: bytes) -> list[bytes]:
    names = []
    for pair in cookies.split(b";"):
        name, equals, _ = pair.strip(b" \t").partition(b"=")
        names.append(name + b"=***" if equals and name else b"***")
    return names


def _without_values(text: bytes) -> bytes:
    """A target or a URL without user, query values and fragment."""
    text = text[: 16 * _LONGEST].partition(b"#")[0]
    path, mark, query = _USER.sub(rb"\1***@", text).partition(b"?")
    if not mark:
        return path
    parts = []
    for part in query.split(b"&"):
        name, equals, _ = part.partition(b"=")
        parts.append(name + b"=***" if equals and name else b"***" if part else b"")
    return path + mark + b"&".join(parts)


def _text(value: bytes, spaces: bool = False) -> str:
    """At most _LONGEST bytes, printable."""
    shown = value[:_LONGEST]
    if spaces:
        text = " ".join(_ODD.sub(b"?", word).decode("ascii") for word in shown.split(b" "))
    else:
        text = _ODD.sub(b"?", shown).decode("ascii")
    return text if len(value) <= _LONGEST else f"{text}..."
