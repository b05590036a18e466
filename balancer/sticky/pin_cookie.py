"""Which cookie carries a client's pin, and how: one of ours, or the app's own with a token before its value.

A pin is a token for an upstream. These know how it travels; `affinity` knows what it means.
"""

import re
from typing import Protocol

from balancer.http.caching import shared_caching
from balancer.http.cookies import change_cookie, set_cookie_value, sets_cookies, take_cookie
from balancer.http.head import ResponseHead

TOKEN_LENGTH = 22  # of base64url: 132 bits
_PREFIXED = re.compile(rb'("?)([A-Za-z0-9_-]{%d})~' % TOKEN_LENGTH)
_PRIVATE = b"Cache-Control: private"


class PinCookie(Protocol):
    """How a pin travels. `search` is in every head that carries one, and in few others."""

    search: bytes
    follows_app: bool  # it is given when the app sets its cookie, not when we would like to

    def read(self, line: bytes) -> tuple[list[bytes], bytes]:
        """The tokens that a Cookie line brings, and the line as the app gets it; empty for none."""

    def mark(self, token: bytes) -> bytes:
        """What `give` puts into a response for `token`, rendered once."""

    def give(self, response: ResponseHead, mark: bytes) -> bool:
        """Put a pin into a response; False where that is not possible."""


class BalancerCookie:
    """A cookie of our own. The app does not see it."""

    __slots__ = ("_attributes", "_name", "follows_app", "search")

    def __init__(self, name: bytes, attributes: bytes) -> None:
        self._name = name
        self._attributes = attributes
        self.search = name + b"="
        self.follows_app = False

    def read(self, line: bytes) -> tuple[list[bytes], bytes]:
        return take_cookie(line, self._name)

    def mark(self, token: bytes) -> bytes:
        return b"Set-Cookie: %b=%b%b" % (self._name, token, self._attributes)

    def give(self, response: ResponseHead, mark: bytes) -> bool:
        """Not beside a cookie of the same name that the app sets, and not in what shared caches keep: they
        would hand one client's pin to all. Where the app itself sets a cookie, it is one client's anyway;
        where it says nothing of caches, we do."""
        lines = response.lines
        if not sets_cookies(lines):
            shared = shared_caching(lines)
            if shared:
                return False
            if shared is None and not response.websocket:
                lines.append(_PRIVATE)
        elif any(set_cookie_value(line, self._name) for line in lines):
            return False
        lines.append(mark)
        return True


class AppCookie:
    """The app's own cookie, `TOKEN~value`: the client keeps both, the app gets its value alone.

    As HAProxy's `cookie NAME prefix`. Nothing is stored here, so all workers and instances agree.
    """

    __slots__ = ("_name", "follows_app", "search")

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.search = name + b"="
        self.follows_app = True

    def read(self, line: bytes) -> tuple[list[bytes], bytes]:
        tokens = []

        def own(value: bytes) -> bytes:
            match = _PREFIXED.match(value)
            if match is None:
                return value
            tokens.append(match[2])
            return match[1] + value[match.end() :]

        return tokens, change_cookie(line, self._name, own)

    def mark(self, token: bytes) -> bytes:
        return token + b"~"

    def give(self, response: ResponseHead, mark: bytes) -> bool:
        """Where the app sets its cookie, and not to nothing; within the quotes if it has some."""
        given = False
        lines = response.lines
        for at, line in enumerate(lines):
            place = set_cookie_value(line, self._name)
            if place is None:
                continue
            first, end = place
            first += line[first:end].startswith(b'"')
            if first < end:
                lines[at] = line[:first] + mark + line[first:]
                given = True
        return given
