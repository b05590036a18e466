"""A worker's outside world in the test's hand: clock, event loop, transports, and a proxy built on them.

Nothing runs by itself: bytes arrive when the test says so, and callbacks run in `FakeLoop.settle`. For sync
tests; there is no running event loop beside it.

    wire = Wire()
    client = wire.connect()
    client.receive(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    wire.settle()                                # the dial connects
    assert wire.upstream.take().startswith(b"GET / HTTP/1.1\\r\\n")
    wire.upstream.receive(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    assert client.take().startswith(b"HTTP/1.1 204 No Content\\r\\n")
    wire.close()
"""

from collections.abc import Callable
from typing import Any

from balancer.clients.data_plane import DataPlane
from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND
from balancer.runtime.build import build_data_plane, member_states
from balancer.telemetry.access_log import Record
from balancer.telemetry.segment import Page, Segment
from tests.fakes.loop import Dial, FakeClock, FakeLoop
from tests.fakes.transport import CLIENT_ADDRESS, FakeSocket, FakeTransport

__all__ = [
    "CLIENT_ADDRESS",
    "VIA",
    "Dial",
    "FakeClock",
    "FakeLoop",
    "FakeSocket",
    "FakeTransport",
    "Records",
    "Wire",
    "start_message",
    "upstream_message",
]


VIA = "balancer-0123abcd"  # the instance's name


class Records:
    """An access log that keeps its records in a list."""

    def __init__(self) -> None:
        self.enabled = True
        self.records: list[Record] = []

    @property
    def append(self) -> Callable[[Record], None]:
        return self.records.append


def upstream_message(number: int, **changes: Any) -> dict[str, Any]:
    """One upstream of the `start` and `pool` messages: `app1:8000` at 10.0.0.1:8000, and so on."""
    return {
        "id": f"app{number}:8000",
        "host": f"10.0.0.{number}",
        "port": 8000,
        "weight": 1,
        "row": 3 + number,
        "admin_state": "active",
        "leaves_by_itself": False,
        "causes": [],
        "backup": False,
        "ramp_since_ns": 0,
        "max_inflight": 0,
        "on_probation": False,
        "silent_since_ns": 0,
        "first_check": "done",
        "other_hosts": [],
        **changes,
    }


def start_message(upstreams: int = 1, **changes: Any) -> dict[str, Any]:
    """A `start` message of the control channel: a pool of `upstreams` at 10.0.0.1:8000 and so on.

    `changes` replace parts; dicts are merged (`limits={"body_bytes": 10}`). What belongs to the pool
    (`policy`, `policy_options`, `hash_key`, `panic`, `slow_start`, `keepalive`, `retry`, `queue`, `sticky`,
    `checked_within`, `adaptive`, `outlier`, `starting`) is put there.
    """
    pool: dict[str, Any] = {
        "name": "default",
        "row": 2,
        "policy": "round_robin",
        "policy_options": {},
        "keepalive": {
            "max_idle": 64,
            "idle_timeout": 4.0,
            "max_requests": 0,
            "max_lifetime": 0.0,
            "learn": True,
        },
        "hash_key": "client_ip",
        "panic": True,
        "slow_start": 0.0,
        "retry": {
            "max_attempts": 3,
            "statuses": [502, 503, 504],
            "methods": ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"],
            "budget_ratio": 0.2,
            "budget_min_per_second": 10.0,
            "replay_bytes": 65536,
        },
        "starting": False,
        "sticky": None,
        "queue": {"size": 0, "timeout": 5.0},
        "checked_within": 0.0,
        "adaptive": {"enabled": False, "min_limit": 1, "max_limit": 10000},
        "outlier": {"enabled": False, "consecutive_5xx": 5, "consecutive_failures": 3},
        "upstreams": [upstream_message(n) for n in range(1, upstreams + 1)],
    }
    start: dict[str, Any] = {
        "type": "start",
        "revision": 1,
        "slot": 0,
        "page": 1,
        "workers": 1,
        "rows": {"worker": 0, "listener": 1},
        "timeouts": {
            "connect": 1.0,
            "first_byte": 30.0,
            "idle": 60.0,
            "total": 0.0,
            "request_head": 10.0,
            "client_idle": 60.0,
            "tunnel_idle": 3600.0,
        },
        "drain": 25.0,
        "limits": {
            "max_connections": 20000,
            "connections_per_client": 0,
            "header_bytes": 65536,
            "header_count": 200,
            "uri_bytes": 8192,
            "body_bytes": 0,
        },
        "trusted_proxies": [],
        "via": VIA,
        "request_trailers": False,
        "forwarded": {"told": [name.lower() for name in ONLY_PROXIES_MAY_SEND], "kept": []},
        "access_log": {"enabled": True, "sample": 1.0},
        "log_level": "info",
        "pools": [pool],
        "routes": [{"name": "default", "row": 3, "pool": "default"}],
    }
    for key, value in changes.items():
        place = pool if key in pool else start
        place[key] = {**(place[key] or {}), **value} if isinstance(value, dict) else value
    return start


class Wire:
    """A real proxy on a fake loop and network. `logs` holds (level, message, traceback), `told` what the
    supervisor was told."""

    def __init__(self, start: dict[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.segment = Segment.create(1)
        self.records = Records()
        self.logs: list[tuple[str, str, str | None]] = []
        self.revision = 1
        self.told: list[dict[str, Any]] = []
        self.hears = True  # the supervisor
        self.proxy: DataPlane = build_data_plane(
            start_message() if start is None else start,
            loop=self.loop,
            segment=self.segment,
            clock=self.clock,
            records=self.records,
            log=lambda *line: self.logs.append(line),
            tell=self._told,
        )

    def tell(self, *upstreams: dict[str, Any], starting: bool = False) -> None:
        """The supervisor says that the pool has these upstreams; see `upstream_message`. `starting`: none has
        passed a check yet."""
        self.revision += 1
        states = member_states(list(upstreams), 1, 0)
        self.proxy.take_news("default", states, self.revision, starting=starting)

    def _told(self, message: dict[str, Any]) -> bool:
        self.told.append(message)
        return self.hears

    @property
    def page(self) -> Page:
        """The page of the stats segment that this proxy counts in."""
        return self.segment.page(1)

    @property
    def upstream(self) -> FakeTransport:
        """The upstream end of the newest connection."""
        return self.loop.transports[-1]

    def connect(self, address: str = CLIENT_ADDRESS, socket: object | None = None) -> FakeTransport:
        """A client connects; its `protocol` is the real ClientConnection."""
        protocol = self.proxy.client_protocol()
        return FakeTransport(self.loop, protocol, peername=(address, 50000), socket=socket)

    def settle(self) -> None:
        """Run everything that is ready."""
        self.loop.settle()

    def advance(self, seconds: float, sweep: bool = True) -> None:
        """Let time pass at once, run the timers that are due, and sweep as the worker would."""
        self.clock.advance(seconds)
        self.settle()
        if sweep:
            self.proxy.sweep()
            self.settle()

    def close(self) -> None:
        """End everything, as a worker does."""
        self.proxy.abort_all()
        self.settle()
        self.segment.close()
