"""A worker's outside world under the test's control: clock, event loop, transports, and a proxy on them.

Nothing runs by itself: bytes arrive when the test sends them, and callbacks run in `FakeLoop.settle`. For
sync tests, without a real event loop.

    wire = Wire()
    client = wire.connect()
    client.receive(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    wire.settle()                                # the dial connects
    assert wire.upstream.take().startswith(b"GET / HTTP/1.1\\r\\n")
    wire.upstream.receive(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    assert client.take().startswith(b"HTTP/1.1 204 No Content\\r\\n")
    wire.close()
"""

import json
from random import Random
from typing import Any, TypeVar

from balancer.clients.data_plane import DataPlane
from balancer.messages import FromWorker, MemberState, Message, PoolUpdate, Start, Verdict
from balancer.runtime.build import build_data_plane
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.log_line import FIELDS
from balancer.telemetry.segment import Page, Segment
from tests.fakes.loop import Dial, FakeClock, FakeLoop
from tests.fakes.messages import start_message, upstream_message
from tests.fakes.specs import VIA
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


MessageT = TypeVar("MessageT", bound=Message)


class Records:
    """An access log whose lines are read as they would be on stdout."""

    def __init__(self) -> None:
        self.access_log = AccessLog(True, 1.0, Random(1))
        self._records: list[dict[str, Any]] = []

    @property
    def enabled(self) -> bool:
        return self.access_log.enabled

    @enabled.setter
    def enabled(self, wanted: bool) -> None:
        self.access_log.enabled = wanted

    @property
    def records(self) -> list[dict[str, Any]]:
        """A record per line so far; a field that is not in it is None."""
        self._records += [dict.fromkeys(FIELDS) | json.loads(line) for line in self.access_log.take()]
        return self._records


class Wire:
    """A real proxy on a fake loop and network. `logs` holds (level, message, traceback), `told` the messages
    to the supervisor."""

    def __init__(self, start: Start | None = None, clock: FakeClock | None = None) -> None:
        self.clock = FakeClock() if clock is None else clock
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.segment = Segment.create(1)
        self.records = Records()
        self.logs: list[tuple[str, str, str | None]] = []
        self.revision = 1
        self._checked_within_ns = 0 if start is None else start.pools[0].checked_within_ns
        self.told: list[FromWorker] = []
        self.hears = True  # the supervisor
        self.proxy: DataPlane = build_data_plane(
            start_message() if start is None else start,
            loop=self.loop,
            segment=self.segment,
            clock=self.clock,
            access_log=self.records.access_log,
            log=lambda *line: self.logs.append(line),
            tell=self._told,
        )

    def tell(self, *upstreams: MemberState, starting: bool = False) -> None:
        """The supervisor sends that the pool has these upstreams; see `upstream_message`. `starting`: none
        has passed a check yet."""
        self.revision += 1
        self.proxy.take_update(
            PoolUpdate(
                name="default",
                revision=self.revision,
                starting=starting,
                checked_within_ns=self._checked_within_ns,
                members=upstreams,
            )
        )

    def only_told(self, kind: type[MessageT]) -> list[MessageT]:
        """The messages to the supervisor, all of which must be of this kind."""
        told: list[Message] = [*self.told]
        of_this_kind = [message for message in told if isinstance(message, kind)]
        assert len(of_this_kind) == len(told)
        return of_this_kind

    def judge(self, row: int, until: int) -> None:
        """The supervisor's verdict on an upstream that was ejected here."""
        self.proxy.membership.judged(Verdict(pool="default", row=row, until=until))

    def _told(self, message: FromWorker) -> bool:
        self.told.append(message)
        return self.hears

    @property
    def page(self) -> Page:
        """The page of the stats segment that this proxy counts in, with all its counts."""
        self.proxy.flush()
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
