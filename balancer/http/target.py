"""The request target and the Host it is for (RFC 9112 section 3.2, RFC 9110 section 7.2).

The target is forwarded as received. Only the absolute form is split: its authority replaces Host, and the
origin form is forwarded.
"""

import re
from typing import Final

from balancer.errors import MALFORMED_REQUEST, ProtocolError

# uri-host [":" port] of RFC 3986: a reg-name, an IPv4 address, or an IP literal in brackets. No userinfo
# (an error by RFC 9110 section 4.2.4), and not empty (section 4.2.1).
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+(?::[0-9]{0,5})?"
    rb"|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{0,5})?"
)
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


def check_host(host: bytes) -> None:
    """Raises ProtocolError if `host` is not a valid Host value (RFC 9112 section 3.2)."""
    if _HOST.fullmatch(host) is None:
        raise ProtocolError(MALFORMED_REQUEST, "Host is not a valid host name or address")


def split_absolute(target: bytes, method: bytes) -> tuple[bytes, bytes]:
    """Splits an absolute-form target into (authority, origin-form target), RFC 9112 section 3.2.2.

    OPTIONS with an empty path becomes `*` (section 3.2.4). Raises ProtocolError for any other form.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise ProtocolError(MALFORMED_REQUEST, "the request target is not in a form that HTTP allows")
    authority, rest = match[1], match[2]
    check_host(authority)
    if method == b"OPTIONS" and not rest:
        return authority, b"*"
    return authority, rest if rest.startswith(b"/") else b"/" + rest
