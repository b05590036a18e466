"""Whether a response may be stored by shared caches (RFC 9111)."""

from typing import Final

from balancer.http.headers import list_members

_CACHE_CONTROL: Final = b"cache-control:"
_FORBIDS: Final = (b"private", b"no-store", b"no-cache")  # also with arguments
_NOT_FRESH: Final = frozenset([b"max-age=0", b"s-maxage=0"])
_ALLOWS: Final = (b"public", b"max-age=", b"s-maxage=")


def shared_caching(lines: list[bytes]) -> bool | None:
    """Whether Cache-Control lets shared caches store the response; None if there is no such field.

    As in HAProxy, `no-cache` and an age of 0 count as "no", although RFC 9111 lets a cache store such a
    response if it revalidates before each use.
    """
    said = None
    for line in lines:
        if line[: len(_CACHE_CONTROL)].lower() != _CACHE_CONTROL:
            continue
        members = list_members(line[len(_CACHE_CONTROL) :])
        if any(member.startswith(_FORBIDS) or member in _NOT_FRESH for member in members):
            return False
        said = bool(said) or any(member.startswith(_ALLOWS) for member in members)
    return said
