"""Lua scripts for wrk: requests that differ, and pauses between them."""

import http.client
import json
from collections.abc import Sequence

from loadtests import browsers
from loadtests.bench import site
from loadtests.errors import BenchError
from loadtests.wrk import REQUEST_HEADERS

SESSIONS = 64  # clients with a cookie of their own in the case with sticky sessions
_SESSION = "0123456789abcdef0123456789abcdef"  # in REQUEST_HEADERS
_LINES = "".join(f"{line}\r\n" for line in REQUEST_HEADERS)
_TRACE = "Traceparent: 00-%032x-%016x-01\r\n"
# Numbers that no earlier run of the same minute has used, so that nothing remembered is met again.
_COUNTER = "math.randomseed(os.time())\nlocal n = math.random(1, 1e6) * 1e7\n"


def another(port: int) -> str:
    """Another path and trace id each time."""
    return _numbered(f"GET /item/%d HTTP/1.1\r\n{_LINES}{_TRACE}\r\n", "n, n, n")


def cookie(port: int) -> str:
    """Another path, trace id, cookie and request id each time."""
    lines = _LINES.replace(_SESSION, "%032x")
    head = f"GET /item/%d HTTP/1.1\r\n{lines}{_TRACE}X-Request-ID: %032x\r\n\r\n"
    return _numbered(head, "n, n * 7 % 4294967296, n, n, n * 11 % 4294967296")


def of_browsers(port: int) -> str:
    """On each connection requests of fifty browsers in random order."""
    return _at_random([_request(path, lines) for path, lines in browsers.heads()])


def of_routes(port: int) -> str:
    """Requests for each route of the site, in random order."""
    heads = []
    for host, path in site.requests():
        lines = [line for line in REQUEST_HEADERS if not line.startswith("Host:")]
        heads.append(_request(path, [f"Host: {host}", *lines]))
    return _at_random(heads)


def sticky(port: int) -> str:
    """Clients that have been served before and send their cookie, in random order."""
    heads = []
    for _ in range(SESSIONS):
        lines = [line for line in REQUEST_HEADERS if not line.startswith("Cookie:")]
        heads.append(_request("/", [*lines, f"Cookie: {'; '.join([f'session={_SESSION}', *_pin(port)])}"]))
    return _at_random(heads)


def post(size: int) -> str:
    """The same POST each time, of `size` bytes."""
    return f'wrk.method = "POST"\nwrk.body = string.rep("x", {size})\n'


def closing(port: int) -> str:
    """A new connection for each request."""
    head = _request("/", REQUEST_HEADERS).replace("keep-alive", "close")
    return f"local head = {_quoted(head)}\nfunction request() return head end\n"


def paced(rate: float, connections: int) -> str:
    """The same request about `rate` times a second: each connection pauses at random before each."""
    longest = max(1, round(2_000 * connections / rate))
    return f"math.randomseed(os.time())\nfunction delay() return math.random(0, {longest}) end\n"


def _numbered(template: str, arguments: str) -> str:
    body = f"n = n + 1\n return string.format({_quoted(template)}, {arguments})"
    return f"{_COUNTER}function request() {body} end\n"


def _at_random(heads: Sequence[str]) -> str:
    table = ",\n".join(_quoted(head) for head in heads)
    return (
        f"local heads = {{{table}}}\nmath.randomseed(os.time())\n"
        "function request() return heads[math.random(#heads)] end\n"
    )


def _request(path: str, lines: Sequence[str]) -> str:
    return f"GET {path} HTTP/1.1\r\n{''.join(line + chr(13) + chr(10) for line in lines)}\r\n"


def _quoted(text: str) -> str:
    """As a Lua string: JSON escapes the same way, as far as this text needs it."""
    return json.dumps(text)


def _pin(port: int) -> list[str]:
    """The cookie that a proxy gives to a new client, [] if it gives none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise BenchError(f"a new client was answered {response.status}")
        return [value.split(";")[0] for name, value in response.getheaders() if name.lower() == "set-cookie"]
    finally:
        connection.close()
