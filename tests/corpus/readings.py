"""How apps read the path of a target: models of servers in use, and of what frameworks do with that.

The models of servers that tests can run are compared with them in `tests/integration/test_readings.py`.
"""

import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote, unquote_to_bytes

# From the target that an app gets to the path that it works with, None if it refuses the request.
Reading: TypeAlias = Callable[[bytes], bytes | None]

_RUN = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_DOT = re.compile(rb"%2[eE]")


def raw(target: bytes) -> bytes | None:
    """Nothing is decoded: Rack, PHP's REQUEST_URI."""
    return target.partition(b"?")[0]


def decoded(target: bytes) -> bytes | None:
    """The whole path is percent-decoded: PATH_INFO of gunicorn and wsgiref, Go."""
    return unquote_to_bytes(target.partition(b"?")[0])


def uvicorn(target: bytes) -> bytes | None:
    """scope["path"], in which what is no UTF-8 is replaced."""
    return unquote(target.partition(b"?")[0].decode("ascii")).encode()


def aiohttp(target: bytes) -> bytes | None:
    """request.path, in which what is no UTF-8 stays encoded."""
    return _RUN.sub(_if_utf8, target.partition(b"?")[0])


def _if_utf8(run: re.Match[bytes]) -> bytes:
    kept = at = 0
    made = []
    for one in unquote_to_bytes(run[0]).decode("utf-8", "surrogateescape"):
        kept, at = at, at + 3 * len(one.encode("utf-8", "surrogateescape"))
        made.append(run[0][kept:at] if "\udc80" <= one <= "\udcff" else one.encode())
    return b"".join(made)


def node(target: bytes) -> bytes | None:
    """decodeURIComponent(new URL(request.url, base).pathname)."""
    path = re.split(rb"[?#]", target, maxsplit=1)[0].replace(b"\\", b"/")
    if path.startswith(b"//"):  # an authority, up to the next slash
        path = b"/" + path.lstrip(b"/").partition(b"/")[2]
    path = without_dots(_DOT.sub(b".", path), may_leave=True) or b""
    path = unquote_to_bytes(path if path.startswith(b"/") else b"/" + path)
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return path


def nginx(target: bytes) -> bytes | None:
    """$uri: decoded, with slashes merged, without dot segments."""
    path = unquote_to_bytes(re.split(rb"[?#]", target, maxsplit=1)[0])
    if b"\0" in path or not path.startswith(b"/"):
        return None
    return without_dots(merged(path), may_leave=False)


def servlet(target: bytes) -> bytes | None:
    """A Java container that takes encoded slashes: parameters are dropped, then it is decoded, and tidied."""
    path = unquote_to_bytes(without_parameters(target.partition(b"?")[0])).replace(b"\\", b"/")
    return without_dots(merged(path), may_leave=False)


def decoded_then_cut(target: bytes) -> bytes | None:
    """The same the other way round, as behind a proxy that decodes."""
    path = without_parameters(unquote_to_bytes(target.partition(b"?")[0])).replace(b"\\", b"/")
    return without_dots(merged(path), may_leave=False)


def decoded_slashes_then_cut(target: bytes) -> bytes | None:
    """Only slashes are decoded before parameters are dropped."""
    path = re.sub(rb"%2[fF]", b"/", target.partition(b"?")[0])
    return servlet(path)


READINGS: dict[str, Reading] = {
    one.__name__: one
    for one in (
        raw,
        decoded,
        uvicorn,
        aiohttp,
        node,
        nginx,
        servlet,
        decoded_then_cut,
        decoded_slashes_then_cut,
    )
}


def merged(path: bytes) -> bytes:
    """Slashes in a row as one."""
    return re.sub(rb"//+", b"/", path)


def without_parameters(path: bytes) -> bytes:
    """Segments without what follows their first `;`."""
    return re.sub(rb";[^/]*", b"", path)


def without_dots(path: bytes, *, may_leave: bool) -> bytes | None:
    """Without dot segments; `..` at the root is dropped, or refused if it may not leave it."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            if len(kept) > 1:
                kept.pop()
            elif not may_leave:
                return None
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/".join(kept)


def taken_for(path: bytes) -> set[bytes]:
    """What frameworks and file handlers may make of the path that their server gives them."""
    plain = without_parameters(path)
    tidied = [without_dots(merged(one), may_leave=True) or b"/" for one in (path, plain)]
    return {merged(path), merged(plain), *tidied}
