"""The cookie that carries a client's pin: one of ours, or the app's own with a token before its value.

A pin is a token for an upstream. This module transports it; `affinity` interprets it.
"""

import re
from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.http.caching import shared_caching
from balancer.http.cookies import change_cookie, set_cookie_value, sets_cookies, take_cookie
from balancer.http.response_head import ResponseHead

TOKEN_LENGTH: Final = 22  # of base64url: 132 bits
_PREFIXED: Final = re.compile(rb'("?)([A-Za-z0-9_-]{%d})~' % TOKEN_LENGTH)
_PRIVATE: Final = b"Cache-Control: private"


@mypyc_attr(allow_interpreted_subclasses=True)
class PinCookie(ABC):
    """How a pin is transported. `search` occurs in every head that carries one, and in few others."""

    __slots__ = ("follows_app", "search")

    search: bytes
    follows_app: bool  # a pin can be set only when the app sets its cookie

    @abstractmethod
    def read(self, line: bytes) -> tuple[list[bytes], bytes]:
        """The tokens in a Cookie line, and the line as the app gets it, empty if nothing is left."""

    @abstractmethod
    def mark(self, token: bytes) -> bytes:
        """The bytes that `give` adds to a response for `token`, rendered once."""

    @abstractmethod
    def give(self, response: ResponseHead, mark: bytes) -> ResponseHead | None:
        """The response with a pin; None if that is not possible."""


class BalancerCookie(PinCookie):
    """Our own cookie. The app does not see it."""

    __slots__ = ("_attributes", "_name")

    def __init__(self, name: bytes, attributes: bytes) -> None:
        self._name = name
        self._attributes = attributes
        self.search = name + b"="
        self.follows_app = False

    def read(self, line: bytes) -> tuple[list[bytes], bytes]:
        return take_cookie(line, self._name)

    def mark(self, token: bytes) -> bytes:
        return b"Set-Cookie: %b=%b%b" % (self._name, token, self._attributes)

    def give(self, response: ResponseHead, mark: bytes) -> ResponseHead | None:
        """Refuses if the app sets a cookie of the same name, or shared caches may store the response: they
        would give one client's pin to all. A response that sets an app's cookie is for one client anyway. To
        others without Cache-Control we add `private`."""
        lines = response.field_lines()
        if not sets_cookies(lines):
            shared = shared_caching(lines)
            if shared:
                return None
            if shared is None and not response.websocket:
                return response.with_lines([*lines, _PRIVATE, mark])
        elif any(set_cookie_value(line, self._name) for line in lines):
            return None
        return response.with_lines([*lines, mark])


class AppCookie(PinCookie):
    """The app's own cookie, `TOKEN~value`: the client keeps both, the app gets only its value.

    Like HAProxy's `cookie NAME prefix`. Nothing is stored here, so all workers and instances agree.
    """

    __slots__ = ("_name",)

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

    def give(self, response: ResponseHead, mark: bytes) -> ResponseHead | None:
        """Only if the app sets its cookie to a non-empty value; inside the quotes, if any."""
        given = False
        lines = response.field_lines().copy()
        for at, line in enumerate(lines):
            place = set_cookie_value(line, self._name)
            if place is None:
                continue
            first, end = place
            first += line[first:end].startswith(b'"')
            if first < end:
                lines[at] = line[:first] + mark + line[first:]
                given = True
        return response.with_lines(lines) if given else None
