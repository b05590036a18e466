"""Cookies as bytes on the wire (RFC 6265): found in a request's lines, taken out of them, set in a response.

What is not asked for stays byte for byte as it came. Names are case-sensitive.
"""

from collections.abc import Callable

_COOKIE = b"cookie:"
_SET_COOKIE = b"set-cookie:"
_SPACE = b" \t"


def is_cookie_line(line: bytes) -> bool:
    """Whether a header line is a request's Cookie."""
    return line[: len(_COOKIE)].lower() == _COOKIE


def take_cookie(line: bytes, name: bytes) -> tuple[list[bytes], bytes]:
    """The values of the cookies called `name` in a Cookie line, in the order sent, and the line without them:
    empty where nothing else is left."""
    values = []
    kept = []
    for pair in line[len(_COOKIE) :].split(b";"):
        if name in pair:
            found, equals, value = pair.strip(_SPACE).partition(b"=")
            if equals and found == name:
                values.append(value)
                continue
        kept.append(pair)
    if not values:
        return values, line
    rest = b";".join(kept)
    return values, line[: len(_COOKIE)] + rest if rest.strip(b"; \t") else b""


def change_cookie(line: bytes, name: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A Cookie line in which the cookies called `name` have the values that `change` makes of theirs."""
    pairs = line[len(_COOKIE) :].split(b";")
    for at, pair in enumerate(pairs):
        found, equals, value = pair.strip(_SPACE).partition(b"=")
        if equals and found == name:
            before, _, after = pair.partition(b"=")
            pairs[at] = before + b"=" + change(value) + after[len(value) :]
    return line[: len(_COOKIE)] + b";".join(pairs)


def set_cookie_value(line: bytes, name: bytes) -> tuple[int, int] | None:
    """Where in a response's line the value of the cookie `name` stands that it sets: its slice.

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
    """What follows name and value in a Set-Cookie line; `max_age` in seconds, 0 for the browser's session."""
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
