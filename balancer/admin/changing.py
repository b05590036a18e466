"""Makes a change (L6), if it is still wanted (`If-Match`), with an audit event of who asked for what."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from balancer.admin.answers import BadRequestError, StaleError
from balancer.admin.keys import INSTANCE
from balancer.admin.view import RefusedError

OPERATOR = "X-Operator"
IF_MATCH = "If-Match"
LONGEST_NAME = 64  # characters
_LONGEST_WISH = 200
_TAG = r'(?:W/)?"[!#-~]*"'  # RFC 9110 section 8.8.3
TAGS = rf"^(\*|{_TAG}(, *{_TAG})*)$"
_ONE_TAG, _TAGS = re.compile(_TAG), re.compile(TAGS)


@dataclass(frozen=True, slots=True)
class Made:
    """A change that was made: the `revision` after it, and whether it has changed anything."""

    revision: int
    changed: bool


class Asked:
    """A change that is asked for: `wish` says what, as in `drains app1:8000`. `pool` is "" for a route."""

    def __init__(self, request: web.Request, pool: str, upstream: str | None, wish: str) -> None:
        self._instance = request.app[INSTANCE]
        self._wanted = request.headers.getall(IF_MATCH, ())
        self._about = pool, upstream
        self._wish = readable(wish, _LONGEST_WISH)
        self.by = caller(request)

    def is_still_wanted(self) -> None:
        """Raises StaleError if `If-Match` names another revision than the present one."""
        wanted, present = self._wanted, self._instance.revision
        if is_met(wanted, present):
            return
        self.audit(f"not done, as operators have changed something since: the revision is {present}")
        raise StaleError(
            f"operators have changed something since: the revision is {present}, and {IF_MATCH} is "
            f"{', '.join(wanted)}; look at the present state, and ask again",
            present,
        )

    def audit(self, result: str) -> None:
        """Record how it went."""
        pool, upstream = self._about
        said = readable(result, _LONGEST_WISH)
        self._instance.audit(pool, upstream, self.by, f"{self.by} {self._wish}: {said}")


def make(
    request: web.Request, pool: str, upstream: str | None, wish: str, act: Callable[[str], object]
) -> Made:
    """Make a change by `act`, which is called with who asks for it; the rest as in `Asked`.

    Raises StaleError and RefusedError. Nothing is awaited between the look at the revision and the change.
    """
    instance, asked = request.app[INSTANCE], Asked(request, pool, upstream, wish)
    asked.is_still_wanted()
    before = instance.revision
    try:
        act(asked.by)
    except RefusedError as error:
        asked.audit(f"refused: {error}")
        raise
    changed = instance.revision != before
    asked.audit("done" if changed else "it is so already")
    return Made(instance.revision, changed)


def is_met(wanted: Sequence[str], revision: int) -> bool:
    """Whether `If-Match` allows a change at this revision: without it, by `*`, and by the strong tag of the
    revision (RFC 9110 section 13.1.1). Raises BadRequestError."""
    if not wanted:
        return True
    text = ", ".join(field.strip() for field in wanted)
    if _TAGS.fullmatch(text) is None:
        raise BadRequestError(
            f"{IF_MATCH}: {readable(text, LONGEST_NAME)} is not a list of tags; write "
            f'{IF_MATCH}: "{revision}", which is the ETag of an answer'
        )
    return text == "*" or f'"{revision}"' in _ONE_TAG.findall(text)


def caller(request: web.Request) -> str:
    """Who asks: the name in X-Operator, which nothing proves, and the address of the peer."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]) if peer else "a client that has left"
    name = readable(request.headers.get(OPERATOR, "").strip(), LONGEST_NAME)
    return f"{name} at {address}" if name else address


def readable(text: str, most: int) -> str:
    """At most `most` characters of a client's text, on one line and without control characters."""
    shown = "".join(each if each.isprintable() else "?" for each in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
