"""The table of cases with their bars, and the sweeps of which pictures are made."""

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch

from loadtests.bench import scripts, site
from loadtests.bench.case import COMPARED, OURS, Bar, Case
from loadtests.bench.contenders import NAMES, NGINX_POLICIES
from loadtests.bench.crowds import Burst, Idle
from loadtests.bench.figures import Figure
from loadtests.bench.handshakes import Handshakes
from loadtests.bench.load import Half, Load
from loadtests.bench.rest import Start
from loadtests.bench.setup import Origin, Setup
from loadtests.bench.websocket import Messages
from loadtests.errors import BenchError

KIB, MIB = 1024, 1024**2
MANY = 1_000  # upstreams
EVERYONE = NAMES
ROUTING = tuple(name for name in NAMES if name != "naive")  # which has one pool


def _cost(compiled: float, plain: float | None = None, figure: Figure = Figure.CPU) -> tuple[Bar, ...]:
    """The usual bar: at most so many times nginx."""
    return (Bar(figure, compiled, plain, against="nginx"),)


def _main_cases() -> list[Case]:
    return [
        Load(
            name="small",
            text="100 bytes, 64 keep-alive clients, 8 header fields, 4 upstreams",
            proxies=EVERYONE,
            bars=_cost(0.92, 1.25),
        ),
        Load(
            name="log",
            text="the same, with the access log on",
            setup=Setup(log=True),
            proxies=EVERYONE,
            bars=_cost(1.1),
        ),
        Load(
            name="another",
            text="another path and trace id in each request",
            script=scripts.another,
            bars=_cost(1.1, 1.4),
        ),
        Load(
            name="cookie",
            text="another path, trace id, cookie and request id each time, another length and ETag back",
            setup=Setup(origin=Origin.DIFFERING),
            script=scripts.cookie,
            proxies=EVERYONE,
            bars=_cost(1.45, 2.0),
        ),
        Load(
            name="browsers",
            text="requests of 50 browsers in random order on each connection, as behind a CDN",
            script=scripts.of_browsers,
        ),
        Load(
            name="routes",
            text="50 routes by host and path over 10 pools, requests for all of them in random order",
            setup=Setup(upstreams=2 * site.POOLS, routes=True),
            script=scripts.of_routes,
            proxies=ROUTING,
            bars=_cost(1.0, 2.0),
        ),
        Load(
            name="10k", text="10 KiB responses", setup=Setup(body=10 * KIB), proxies=EVERYONE, bars=_cost(1.0)
        ),
        Load(
            name="chunked",
            text="10 KiB responses in chunks",
            setup=Setup(body=10 * KIB, origin=Origin.CHUNKED),
            bars=_cost(1.0),
        ),
        Load(name="post", text="POST of 4 KiB", script=lambda port: scripts.post(4 * KIB), bars=_cost(1.0)),
        Load(
            name="sticky",
            text="clients with a sticky session (nginx: without)",
            setup=Setup(sticky=True),
            script=scripts.sticky,
            bars=_cost(1.0),
        ),
        Load(
            name="1m",
            text="1 MiB responses",
            setup=Setup(body=MIB),
            connections=16,
            proxies=EVERYONE,
            main=Figure.CPU_MIB,
            bars=_cost(0.7, figure=Figure.CPU_MIB),
        ),
        Load(
            name="100m",
            text="100 MiB responses",
            setup=Setup(body=100 * MIB),
            connections=8,
            main=Figure.CPU_MIB,
            bars=_cost(0.7, figure=Figure.CPU_MIB),
        ),
        Load(
            name="upload",
            text="POST of 1 MiB (nginx: without request buffering)",
            setup=Setup(origin=Origin.READING, unbuffered=True),
            connections=16,
            script=lambda port: scripts.post(MIB),
            bars=_cost(1.0),
        ),
        Load(
            name="newconn",
            text="a new client connection for each request",
            script=scripts.closing,
            proxies=EVERYONE,
            bars=_cost(1.4),
        ),
        Messages(
            name="websocket",
            text="a WebSocket message of 1 KiB and its echo",
            setup=Setup(origin=Origin.ECHO),
            bars=_cost(1.0, figure=Figure.CPU_MESSAGE),
        ),
        Half(name="p99", text="response times at half of nginx's saturation", proxies=EVERYONE),
        Burst(
            name="burst",
            text="8,000 clients at once, no connection to an upstream yet, and a listen backlog of 511 there",
            setup=Setup(backlog=511),  # nginx's default, many apps' too
            bars=(
                Bar(Figure.ALL_SERVED, 1.5, against="haproxy"),
                Bar(Figure.REFUSED, 0.0),
            ),
        ),
        Load(
            name="adaptive",
            text=f"{MANY:,} upstreams, adaptive limits on against off",
            setup=Setup(upstreams=MANY),
            proxies=OURS,
            variants={"off": {"ADAPTIVE__ENABLED": "false"}, "on": {}},
            base="own:off",
            bars=(Bar(Figure.CPU, 1.05, against="own:off", variant="on"),),
        ),
        Load(
            name="workers",
            text="two workers against one, on one core",
            proxies=OURS,
            variants={"one": {}, "two": {"WORKERS": "2"}},
            base="own:one",
            bars=(Bar(Figure.CPU, 1.15, against="own:one", variant="two"),),
        ),
        Idle(
            name="idle",
            text="8,000 idle keep-alive clients, and the p99 beside them at half of nginx's saturation",
            bars=(Bar(Figure.CLIENT, 3.0 * KIB), Bar(Figure.P99_RATIO, 1.1)),
        ),
        Start(
            name="start",
            text="start to the first response, and memory at rest",
            proxies=EVERYONE,
            bars=(Bar(Figure.STARTED, 0.8), Bar(Figure.MEMORY, 72.0 * MIB)),
        ),
    ]


def _tls_cases() -> list[Case]:
    secured = Setup(tls=True)
    return [
        Load(
            name="tls",
            text="100 bytes with TLS 1.3, AES-256-GCM, 64 keep-alive clients",
            setup=secured,
            bars=_cost(1.3),
        ),
        Load(
            name="tls-1m",
            text="1 MiB responses with TLS 1.3",
            setup=replace(secured, body=MIB),
            connections=16,
            main=Figure.CPU_MIB,
            bars=_cost(0.9, figure=Figure.CPU_MIB),
        ),
        Handshakes(
            name="tls-newconn",
            text="a new connection and a full handshake for each request: X25519, ECDSA P-256",
            setup=secured,
            bars=_cost(1.2),
        ),
        Idle(
            name="tls-idle",
            text="2,000 idle keep-alive clients with TLS 1.3",
            setup=secured,
            clients=2_000,
            bars=(Bar(Figure.CLIENT, 30.0 * KIB),),
        ),
    ]


def _policies() -> list[Case]:
    return [
        Load(
            name=f"{MANY}-{policy}",
            text=f"{MANY:,} upstreams, {policy}",
            setup=Setup(upstreams=MANY, policy=policy),
            bars=_cost(1.0),
        )
        for policy in NGINX_POLICIES
    ]


def _sweep(name: str, values: tuple[int, ...], point: Callable[[int], Load]) -> list[Case]:
    return [replace(point(value), name=f"{name}={value}", proxies=COMPARED) for value in values]


def _sweeps() -> list[Case]:
    return [
        *_sweep(
            "upstreams",
            (2, 10, 100, 1_000),
            lambda value: Load(name="", text=f"{value:,} upstreams", setup=Setup(upstreams=value)),
        ),
        *_sweep(
            "connections",
            (8, 64, 256, 1_024, 4_096),
            lambda value: Load(name="", text=f"{value:,} connections", connections=value),
        ),
        *_sweep(
            "body",
            (100, KIB, 10 * KIB, 100 * KIB, MIB),
            lambda value: Load(name="", text=f"responses of {value:,} bytes", setup=Setup(body=value)),
        ),
    ]


CASES: dict[str, Case] = {
    case.name: case for case in (*_main_cases(), *_tls_cases(), *_policies(), *_sweeps())
}


def select(patterns: tuple[str, ...]) -> list[Case]:
    """The cases that match a name or pattern such as `1000-*`, in order; `BenchError` where none does."""
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in CASES):
            raise BenchError(f"no case is called {pattern}; there are {', '.join(CASES)}")
    return [case for name, case in CASES.items() if any(fnmatch(name, pattern) for pattern in patterns)]


def is_point(name: str) -> bool:
    """Whether a case is a point of a picture, rather than a row of the table."""
    return "=" in name
