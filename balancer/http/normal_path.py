"""The path of a request in its normal form: the one that routes match is the one that the app sees.

Apps, and the proxies behind us, read a path in more than one way. What only hides another path is refused
(nobody but an attacker sends it), and what is merely another spelling is respelled (RFC 3986 section 6.2.2).
Only sites whose routes look at paths come here: the target of all others is forwarded as received.
"""

import re
from typing import Final

from balancer.errors import MALFORMED_REQUEST, ProtocolError

# Maps the bytes that occur only in unusual paths to another one; and those of targets with a query, too.
_USUAL_BYTES: Final = bytes.maketrans(b"%\\;", b"aaa")
_PLAIN_BYTES: Final = bytes.maketrans(b"%\\;.?", b"aaaaa")
_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_NOT_IN_URLS: Final = re.compile(rb"[^!$&-;=@A-Z_a-z~%]")
_SLASHES: Final = re.compile(rb"//+")
_ENCODED_SLASH: Final = re.compile(rb"%2[Ff]")
_PARAMETER: Final = re.compile(rb";|%3[Bb]")
_PARAMETERS: Final = re.compile(rb"(?:;|%3[Bb])[^/]*")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DOTS: Final = (b".", b"..")
# Never decoded: an encoded slash is no separator, and decoding an encoded percent would decode twice.
_KEPT: Final = (0x2F, 0x25)


def usual_path(target: bytes) -> bytes:
    """The path of a target, if it is its own normal form and is matched as it is, as nearly all are; b"" if
    that takes more than a look."""
    # By methods that take their arguments as they are: `find`, which parses its own, takes 1,000
    # instructions, and `in` raises and drops a TypeError to see whether it is about a number.
    path = target
    if target.translate(_PLAIN_BYTES) != target:
        path = target.partition(b"?")[0]
        if path.partition(b"/.")[1] or path.translate(_USUAL_BYTES) != path:
            return b""
    return b"" if path.partition(b"//")[1] else path


def normal_path(path: bytes) -> bytes:
    """`path` without dot segments and with its unreserved characters decoded. Raises ProtocolError if it can
    be read as another one."""
    if b"\\" in path:
        raise _refused("a backslash")
    path = _ENCODED.sub(_unreserved, path)
    segments = path.split(b"/")
    has_dots = False
    for segment in segments:
        if segment in _DOTS:
            has_dots = True
            continue
        for part in _ENCODED_SLASH.split(segment):
            name = _PARAMETER.split(part, maxsplit=1)[0]
            if name in _DOTS:
                raise _refused("a dot segment that is hidden by an encoded slash or a parameter")
    if not has_dots:
        return _rooted(path)
    plain = _without_dots(segments)
    # Of `/a//../b` some remove the empty segment, some `a`.
    if b"//" in path and merged(plain) != _without_dots(merged(path).split(b"/")):
        raise _refused("a dot segment behind an empty one")
    return _rooted(plain)


def matched_form(path: bytes) -> bytes:
    """A normal path as routes compare it: percent-decoded but for %2F and %25, and without empty
    segments. `/caf%C3%A9` and `/%40me` are `/café` and `/@me` to an app."""
    return merged(_ENCODED.sub(_decoded, path) if b"%" in path else path)


def encoded(form: bytes) -> bytes:
    """A path as routes compare it, as it stands in a URL."""
    return _NOT_IN_URLS.sub(_percent, form)


def other_readings(path: bytes) -> list[bytes]:
    """What some apps take a normal path for: its encoded slashes as slashes, its parameters (`;v=1`) as not
    there, or both, in either order. The forms that routes compare."""
    plain, decoded = _PARAMETERS.sub(b"", path), _ENCODED_SLASH.sub(b"/", path)
    readings = [decoded, plain, _ENCODED_SLASH.sub(b"/", plain), _PARAMETERS.sub(b"", decoded)]
    return [matched_form(one) for one in dict.fromkeys(readings) if one != path]


def merged(path: bytes) -> bytes:
    """`path` without empty segments, but for a last one."""
    return _SLASHES.sub(b"/", path) if b"//" in path else path


def _rooted(path: bytes) -> bytes:
    """With one slash in front: to WHATWG's URL, and so to many apps on Node, `//x/admin` is the host `x` and
    the path `/admin`."""
    return b"/" + path.lstrip(b"/") if path.startswith(b"//") else path


def _without_dots(segments: list[bytes]) -> bytes:
    """RFC 3986 section 5.2.4, but what leads above the root is refused."""
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if len(kept) < 2:
                raise _refused("a dot segment that leads above the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in _DOTS:
        kept.append(b"")
    return b"/".join(kept)


def _unreserved(encoded: re.Match[bytes]) -> bytes:
    digits: bytes | None = encoded[1]
    if digits is None:
        raise _refused("a percent sign without two hexadecimal digits")
    number = int(digits, 16)
    if number == 0:
        raise _refused("an encoded NUL")
    if number == 0x5C:
        raise _refused("an encoded backslash")
    return bytes((number,)) if number in _UNRESERVED else encoded[0]


def _decoded(encoded: re.Match[bytes]) -> bytes:
    digits: bytes | None = encoded[1]
    if digits is None:
        return encoded[0]
    number = int(digits, 16)
    return b"%%%02X" % number if number in _KEPT else bytes((number,))


def _percent(raw: re.Match[bytes]) -> bytes:
    return b"%%%02X" % raw[0][0]


def _refused(what: str) -> ProtocolError:
    return ProtocolError(MALFORMED_REQUEST, f"the path has {what}")
