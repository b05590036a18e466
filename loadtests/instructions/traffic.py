"""What is counted: the requests and responses of each kind of traffic."""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from loadtests import browsers
from loadtests.wrk import REQUEST_HEADERS

POOLS = 10  # where there are several routes
EXCHANGES = 2_500  # the most that is played of a kind
_EPOCH = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, in seconds
_LINES = "".join(f"{line}\r\n" for line in REQUEST_HEADERS)
_SESSION = "0123456789abcdef0123456789abcdef"  # in REQUEST_HEADERS
_SWITCH_LINES = (
    "Host: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
UPGRADE = f"GET /chat HTTP/1.1\r\n{_SWITCH_LINES}\r\n".encode()
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of traffic: the request and the response of the exchange with a number from 0 on.

    `connections` is "one" for all exchanges, "each" for a new client connection for every exchange, or
    "tunnel": one connection that was switched to WebSocket, with messages in place of exchanges.
    """

    text: str
    request: Callable[[int], bytes]
    response: Callable[[int], bytes]
    connections: str = "one"
    routes: int = 1  # with more than one there are POOLS pools
    traces: bool = False
    logs: bool = False


def _same(number: int) -> bytes:
    return f"GET / HTTP/1.1\r\n{_LINES}\r\n".encode()


def _another(number: int) -> bytes:
    return f"GET /item/{number} HTTP/1.1\r\n{_LINES}{_trace(number)}\r\n".encode()


def _cookie(number: int) -> bytes:
    lines = _LINES.replace(_SESSION, f"{number * 7_919:032x}")
    request_id = f"X-Request-ID: {number * 104_729:032x}\r\n"
    return f"GET /item/{number} HTTP/1.1\r\n{lines}{_trace(number)}{request_id}\r\n".encode()


def _trace(number: int) -> str:
    return f"Traceparent: 00-{number:032x}-{number:016x}-01\r\n"


def _traced(flags: str) -> Callable[[int], bytes]:
    """Another path and trace each time: ids of zeros only are none."""
    return lambda number: (
        f"GET /item/{number} HTTP/1.1\r\n{_LINES}{_trace(number + 1)}\r\n".replace("-01\r\n", f"-{flags}\r\n")
    ).encode()


def _closing(number: int) -> bytes:
    return _same(number).replace(b"keep-alive", b"close")


def _upload(number: int) -> bytes:
    return f"POST /item HTTP/1.1\r\n{_LINES}Content-Length: 1024\r\n\r\n".encode() + b"x" * 1024


def _browsers() -> Callable[[int], bytes]:
    heads = [
        f"GET {path} HTTP/1.1\r\n{''.join(line + chr(13) + chr(10) for line in lines)}\r\n".encode()
        for path, lines in browsers.heads()
    ]
    order = browsers.order(EXCHANGES)
    return lambda number: heads[order[number]]


def _head(number: int, more: str) -> bytes:
    date = formatdate(_EPOCH + number, usegmt=True)
    return f"HTTP/1.1 200 OK\r\nServer: app\r\nDate: {date}\r\nContent-Type: text/html\r\n{more}\r\n".encode()


def _sized(size: int) -> Callable[[int], bytes]:
    response = _head(0, f"Content-Length: {size}\r\n") + b"x" * size
    return lambda number: response


def _chunked(number: int) -> bytes:
    return _head(0, "Transfer-Encoding: chunked\r\n") + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"


def _differing(number: int) -> bytes:
    """Another Date, Content-Length and ETag each time, 100 bytes or a few more."""
    size = 100 + number % 37
    return _head(number, f'Content-Length: {size}\r\nETag: "{number * 15_485_863:016x}"\r\n') + b"x" * size


def _question(number: int) -> bytes:
    """A client's binary message of 1 KiB, masked with zeros."""
    return b"\x82\xfe\x04\x00" + bytes(4) + b"x" * 1024


def _echo(number: int) -> bytes:
    return b"\x82\x7e\x04\x00" + b"x" * 1024


KINDS: dict[str, Kind] = {
    "same": Kind("the same request each time, 100 bytes", _same, _sized(100)),
    "another": Kind("another path and trace id each time, 100 bytes", _another, _sized(100)),
    "routes": Kind("the same request each time, 1,000 routes and 10 pools", _same, _sized(100), routes=1_000),
    "paths": Kind("another path and trace id each time, 1,000 routes", _another, _sized(100), routes=1_000),
    "cookie": Kind(
        "another cookie and request id too; responses with another Date, length and ETag", _cookie, _differing
    ),
    "browsers": Kind(
        f"{browsers.BROWSERS} different heads in random order, 100 bytes", _browsers(), _sized(100)
    ),
    "newconn": Kind("a new client connection each time, 100 bytes", _closing, _sized(100), "each"),
    "large": Kind("the same request each time, 10 KiB", _same, _sized(10 * 1024)),
    "chunked": Kind("the same request each time, 1 KiB in a chunk", _same, _chunked),
    "upload": Kind("POST of 1 KiB", _upload, _sized(100)),
    "unsampled": Kind("as another, traces on, not sampled", _traced("00"), _sized(100), traces=True),
    "sampled": Kind("as another, traces on, sampled", _traced("01"), _sized(100), traces=True),
    "logged": Kind("the same request each time, with the access log", _same, _sized(100), logs=True),
    "message": Kind("a WebSocket message of 1 KiB and its echo", _question, _echo, "tunnel"),
}
