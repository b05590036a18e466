"""Cookies as bytes on the wire (RFC 6265): find or remove them in request lines, set them in responses.

All other cookies stay byte for byte as received. Names are case-sensitive.
"""

from collections.abc import Callable, Iterator
from typing import Final

_COOKIE: Final = b"cookie:"
_SET_COOKIE: Final = b"set-cookie:"
_SPACE: Final = b" \t"


def is_cookie_line(line: bytes) -> bool:
    """Whether a header line is a Cookie field."""
    return line[: len(_COOKIE)].lower() == _COOKIE


def take_cookie(line: bytes, name: bytes) -> tuple[list[bytes], bytes]:
    """The values of the cookies called `name` in a Cookie line, in the order sent, and the line without them,
    empty if no cookie is left."""
    values = []
    kept = []
    at = len(_COOKIE)
    for begin, value, end in _places(line, name, at):
        values.append(line[value:end].rstrip(_SPACE))
        if begin > at:
            kept.append(line[at : begin - 1])
        at = end + 1
    if not values:
        return values, line
    if at <= len(line):
        kept.append(line[at:])
    rest = b";".join(kept)
    return values, line[: len(_COOKIE)] + rest if rest.strip(b"; \t") else b""


def change_cookie(line: bytes, name: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A Cookie line in which `change` has been applied to the values of the cookies called `name`."""
    pieces = []
    at = 0
    for _, first, end in _places(line, name, len(_COOKIE)):
        value = line[first:end].rstrip(_SPACE)
        pieces += [line[at:first], change(value)]
        at = first + len(value)
    pieces.append(line[at:])
    return b"".join(pieces)


def cookie_value(cookies: bytes, name: bytes) -> bytes | None:
    """The value of the first cookie called `name` in the value of a Cookie field."""
    for _, value, end in _places(cookies, name, 0):
        return cookies[value:end].rstrip(_SPACE)
    return None


def _places(text: bytes, name: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """The start of each cookie called `name`, the start of its value, and the end of both. Other cookies are
    not examined one by one, as a client can send 30,000 of them."""
    wanted = name + b"="
    found = text.find(wanted, at)
    while found >= 0:
        begin = max(text.rfind(b";", at, found) + 1, at)
        end = text.find(b";", found)
        if end < 0:
            end = len(text)
        if not text[begin:found].strip(_SPACE):
            yield begin, found + len(wanted), end
        at = end
        found = text.find(wanted, at)


def set_cookie_value(line: bytes, name: bytes) -> tuple[int, int] | None:
    """The slice (start, end) of the value in a response line that sets the cookie `name`.

    None for any other line.
    """
    start = len(_SET_COOKIE)
    if line[:start].lower() != _SET_COOKIE:
        return None
    end = line.find(b";", start)
    end = len(line) if end < 0 else end
    found, equals, value = line[start:end].partition(b"=")
    if not equals or found.strip(_SPACE) != name:
        return None
    first = end - len(value.lstrip(_SPACE))
    return first, first + len(value.strip(_SPACE))


def sets_cookies(lines: list[bytes]) -> bool:
    """Whether a response sets any cookie."""
    return any(line[: len(_SET_COOKIE)].lower() == _SET_COOKIE for line in lines)


def cookie_attributes(
    *, path: str, domain: str, max_age: int, secure: bool, http_only: bool, same_site: str
) -> bytes:
    """The attributes after name and value in a Set-Cookie line; `max_age` in seconds, 0 = session cookie."""
    parts = [f"; Path={path}"]
    if domain:
        parts.append(f"; Domain={domain}")
    if max_age:
        parts.append(f"; Max-Age={max_age}")
    if secure:
        parts.append("; Secure")
    if http_only:
        parts.append("; HttpOnly")
    parts.append(f"; SameSite={same_site.capitalize()}")
    return "".join(parts).encode()
