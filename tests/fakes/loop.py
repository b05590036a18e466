"""A fake event loop: the test controls time, and the network behind `create_connection`."""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from tests.fakes.transport import FakeTransport

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class FakeClock:
    """A clock that moves only by `advance`."""

    def __init__(self) -> None:
        self._now_ns = 1_000_000_000_000
        self._wall = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        self._wall += seconds


class Dial:
    """One `create_connection`: ended by the answer in `FakeLoop.answers`, or by the test."""

    def __init__(self, loop: "FakeLoop", host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._future: asyncio.Future[None] = asyncio.Future(loop=loop)

    @property
    def pending(self) -> bool:
        return not self._future.done()

    def accept(self) -> None:
        self._future.set_result(None)

    def fail(self, error: Exception) -> None:
        self._future.set_exception(error)

    async def settled(self) -> None:
        await self._future


class FakeLoop(asyncio.AbstractEventLoop):
    """An event loop with a FakeClock's time and the test's network.

    `answers` says by (host, port) how a dial ends: None connects (the default), an exception is raised,
    `FakeLoop.HOLD` leaves it to the test (`dials[-1].accept()` or `.fail(error)`). `speak_first` says by
    (host, port) what an upstream sends as soon as it is connected; if that is empty, it closes. `dials`
    are all the dials, `transports` the upstream ends of all connections made. An exception in a callback
    is raised by `settle`.
    """

    HOLD = object()

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.answers: dict[tuple[str, int], object | None] = {}
        self.speak_first: dict[tuple[str, int], bytes] = {}
        self.dials: list[Dial] = []
        self.transports: list[FakeTransport] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._errors: list[BaseException] = []

    def settle(self) -> None:
        """Run all ready callbacks and the ones they make ready, including due timers, until none is left."""
        asyncio._set_running_loop(self)
        try:
            while True:
                while self._timers and self._timers[0][0] <= self.time():
                    self._ready.append(heapq.heappop(self._timers)[2])
                if not self._ready:
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
                if self._errors:
                    raise self._errors.pop(0)
        finally:
            asyncio._set_running_loop(None)

    def run_due(self) -> None:
        """Run only the due timers, as a loop does before it reads after a long turn."""
        asyncio._set_running_loop(self)
        try:
            while self._timers and self._timers[0][0] <= self.time():
                handle = heapq.heappop(self._timers)[2]
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    @property
    def pending(self) -> bool:
        """Whether `settle` would find a ready callback (timers aside)."""
        return bool(self._ready)

    @property
    def armed_timers(self) -> int:
        """Timers that would still fire."""
        return sum(not handle.cancelled() for _, _, handle in self._timers)

    # --- asyncio's interface, as far as the data plane uses it

    def time(self) -> float:
        return self.clock.monotonic_ns() / 1e9

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio's own hook; cancelled timers are skipped when they come up."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # the stub also knows eager tasks; unused here
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> "asyncio.Task[T]":
        return asyncio.Task(coro, loop=self, name=name)

    async def create_connection(  # type: ignore[override]  # the stub has every keyword of asyncio's
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        dial = Dial(self, host, port)
        self.dials.append(dial)
        answer = self.answers.get((host, port))
        if isinstance(answer, Exception):
            dial.fail(answer)
        elif answer is not self.HOLD:
            dial.accept()
        await dial.settled()
        protocol = protocol_factory()
        transport = FakeTransport(self, protocol, peername=(host, port))
        self.transports.append(transport)
        word = self.speak_first.get((host, port))
        if word:
            transport.receive(word)
        elif word == b"":
            transport.receive_eof()
        return transport, protocol

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._errors.append(context.get("exception") or RuntimeError(context["message"]))
