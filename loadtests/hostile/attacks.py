"""The attacks: what a hostile client sends, or requests from a hostile app, and over how many connections."""

from dataclasses import dataclass
from enum import StrEnum

# Paths of `loadtests.hostile.replica`.
SINK = "/sink"  # reads the request's body to its end, and discards it
STUCK = "/stuck"  # never reads any of the request's body
WORK = "/work/"  # works on each request for a while
WORK_SECONDS = 0.01
TINY, SMALL, MIXED, EXTENDED, HINTS, UNBOUNDED, LARGE = (
    "/tiny-chunks",
    "/small-chunks",
    "/mixed-chunks",
    "/extensions",
    "/early-hints",
    "/unbounded",
    "/large",
)
MANY = 2_000  # connections; more than a balancer of this run may have
_HEAD_BYTES = 30_000  # of a large head: accepted by every balancer in the run
_BLOB_BYTES = 1 << 20  # bytes passed to the kernel at once
_HOST = "Host: hostile.test\r\n"


class Target(StrEnum):
    """The attacked listener."""

    CLIENTS = "clients"
    ADMIN = "admin"


class Ends(StrEnum):
    """How the attacker ends a connection after its opening has been sent."""

    NEVER = "never"
    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack over some `connections`, each of which is opened again when the balancer closes it.

    `opening` is sent on each; then `endless`, repeatedly, as fast as it is accepted. `reads`: received bytes
    are read and discarded. `again`: each response is followed by the opening again. `every`: the opening is
    sent again after this many seconds, at first after a random part of them. `piece`: bytes of `endless` at a
    time. `together`: all are opened, and at half time all are ended at once. `addresses`: the number of
    client addresses.

    `slots`: the balancer's limit of client connections (0: the usual one); then good clients open one for
    each request, as new clients do. `places`: an upstream's limit of concurrent requests (0: none); then good
    requests are for WORK. `checks`: the path of the balancer's active checks.
    """

    name: str
    summary: str
    connections: int
    opening: bytes
    endless: bytes = b""
    reads: bool = True
    again: bool = False
    ends: Ends = Ends.NEVER
    every: float = 0.0
    piece: int = _BLOB_BYTES
    together: bool = False
    addresses: int = 64
    target: Target = Target.CLIENTS
    slots: int = 0
    checks: str = "/"
    places: int = 0


def _get(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{_HOST}{fields}\r\n".encode()


def _post(path: str, fields: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\n{_HOST}{fields}\r\n".encode()


def _blob(unit: bytes) -> bytes:
    return unit * (_BLOB_BYTES // len(unit))


def _chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"a" * size)


_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
_CHUNKED = _post(SINK, "Transfer-Encoding: chunked\r\n")
_ENDLESS = f"Content-Length: {1 << 40}\r\n"


def _upload(name: str, unit: bytes, what: str) -> Attack:
    return Attack(name, f"endless POSTs, {what}", 4, _CHUNKED, _blob(unit))


def _asks(name: str, path: str, what: str) -> Attack:
    return Attack(name, f"endless responses of the app, {what}", 4, _get(path))


def _head(name: str, field: str, unit: str, what: str) -> Attack:
    value = unit * (_HEAD_BYTES // len(unit))
    return Attack(name, f"heads of 30 KB, {what}", 4, _get("/", f"{field}: {value}x\r\n"), again=True)


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        _upload("tiny-chunks", _chunk(1), "in chunks of 1 byte"),
        _upload("mixed-chunks", _chunk(1) + _chunk(2) + _chunk(3), "in chunks of 1 to 3 bytes"),
        _upload("small-chunks", _chunk(64), "in chunks of 64 bytes"),
        _upload("chunks", _chunk(1024), "in chunks of 1 KiB"),
        Attack("upload", "endless POSTs of known length", 4, _post(SINK, _ENDLESS), _blob(b"a")),
        _asks("app-tiny-chunks", TINY, "in chunks of 1 byte"),
        _asks("app-mixed-chunks", MIXED, "in chunks of 1 to 3 bytes"),
        _asks("app-small-chunks", SMALL, "in chunks of 64 bytes"),
        _asks("app-extensions", EXTENDED, "in chunks with an extension of 1,000 bytes each"),
        _asks("app-hints", HINTS, "with 103 only"),
        _asks("app-unbounded", UNBOUNDED, "until it closes"),
        Attack("app-checks", "endless responses of the app to checks", 1, _get("/"), checks=HINTS),
        _head("tokens", "Connection", "a,", "of tokens in Connection"),
        _head("forwarded-for", "X-Forwarded-For", "127.0.0.1, ", "of trusted addresses in X-Forwarded-For"),
        _head("cookies", "Cookie", "a=b; ", "of cookies"),
        Attack(
            "header-bytes",
            "one long header line, byte by byte",
            100,
            _get("/", "X-Long: ").removesuffix(b"\r\n"),
            b"a",
            piece=1,
        ),
        Attack("pipelines", "pipelined requests, responses not read", 20, b"", _blob(_get("/")), reads=False),
        Attack("reads-nothing", "large responses, not read", 100, _get(LARGE), reads=False),
        Attack("untaken", "uploads that the app does not read", 100, _post(STUCK, _ENDLESS), _blob(b"a")),
        Attack(
            "ahead", "bytes sent ahead of a slow request", 100, _get(STUCK), _blob(_get("/")), reads=False
        ),
        Attack("idle", "idle connections on every slot", MANY, _get("/"), slots=500),
        Attack("silent", "silent connections on every slot", MANY, b"", slots=500),
        Attack(
            "once-a-minute",
            "clients with one request a minute on every slot",
            1_000,
            _get("/"),
            every=60.0,
            slots=1_000,
        ),
        Attack(
            "greedy",
            "one client sends as fast as it can, above capacity",
            300,
            _get(WORK),
            again=True,
            addresses=1,
            places=2,
        ),
        Attack("closes", "connections opened and closed", 50, b"", ends=Ends.CLOSE),
        Attack("resets", "requests that are reset at once", 50, _get("/"), ends=Ends.RESET),
        Attack(
            "closes-at-once", "all connections closed at once", 3_500, b"", ends=Ends.CLOSE, together=True
        ),
        Attack("resets-at-once", "all reset at once", 3_500, _get("/"), ends=Ends.RESET, together=True),
        Attack("admin", "idle connections to the admin listener", MANY, b"", target=Target.ADMIN),
        Attack(
            "admin-unread",
            "/metrics requests, responses not read",
            MANY,
            _SCRAPE,
            reads=False,
            target=Target.ADMIN,
        ),
        Attack("admin-scrapes", "metrics, again and again", 150, _SCRAPE, again=True, target=Target.ADMIN),
        Attack(
            "admin-heads",
            "heads without an end",
            20,
            _get("/readyz", "X-Long: ").removesuffix(b"\r\n").replace(b"hostile.test", b"localhost"),
            _blob(b"a"),
            target=Target.ADMIN,
        ),
        Attack(
            "admin-chunks",
            "bodies without an end, in chunks of 1 byte",
            20,
            _post("/api/pools/default/upstreams", "Transfer-Encoding: chunked\r\n").replace(
                b"hostile.test", b"localhost"
            ),
            _blob(_chunk(1)),
            target=Target.ADMIN,
        ),
    )
}
