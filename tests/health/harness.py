"""The harness of the scheduler's tests: a fake loop and clock, probes by script, and a sink that writes
down."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from balancer.health.active import AT_ONCE, ActiveChecks
from balancer.health.result import Reply, Result
from balancer.spec.instance import CheckSpec
from balancer.spec.part import replaced
from tests.fakes.loop import FakeClock, FakeLoop

STEP = 0.01  # seconds: how finely the fake time runs

SETTINGS = CheckSpec(
    path="/", interval=2.0, timeout=1.0, rise=2, fall=2, expect=((200, 399),), body="", port=0, headers=(),
    drain_status=0,
)  # fmt: skip

OK = Reply(Result.PASSED, 200, "200 on /")
ERROR = Reply(Result.STATUS, 500, "500 on /")
REFUSED = Reply(Result.REFUSED, 0, "refused: nothing listens there")
CLOSED = Reply(Result.CLOSED, 0, "it closed the connection without a response")
HANG = None  # no answer at all


@dataclass(frozen=True)
class After:
    """An answer after a delay. It is seen after all timers that are due, as in a loop that runs timers before
    it reads sockets."""

    seconds: float
    reply: Reply


Answer: TypeAlias = Reply | Exception | After | None


@dataclass(eq=False)
class FakeUpstream:
    """What is checked."""

    id: str
    address: str = "10.0.0.1"
    port: int = 8000
    pool: str = "default"
    server_name: str = ""


@dataclass(eq=False)
class ScriptedProbe:
    """Answers from its script, then with `always`; HANG is no answer."""

    script: deque[Answer] = field(default_factory=deque)
    always: Answer = OK
    asked: list[tuple[float, str, int]] = field(default_factory=list)  # when, where
    running: int = 0
    closed: bool = False
    then: Callable[[], None] | None = None  # called once, when the answer arrives
    clock: FakeClock = field(default_factory=FakeClock)
    at_once: list[int] = field(default_factory=list)  # one shared cell: the number of running checks

    @property
    def so_far(self) -> str:
        return ""

    async def check(self, address: str, port: int) -> Reply:
        assert self.running == 0, "two checks of one upstream at a time"
        assert not self.closed
        self.asked.append((self.clock.monotonic_ns() / 1e9, address, port))
        answer = self.script.popleft() if self.script else self.always
        self.running += 1
        self.at_once[0] += 1
        self.at_once[1] = max(self.at_once)
        try:
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, After):
                loop = asyncio.get_running_loop()
                came = loop.create_future()
                timer = loop.call_later(answer.seconds, _come, came)
                try:
                    await came
                finally:
                    timer.cancel()
                return answer.reply
            if answer is not None:
                if self.then is not None:
                    # Runs when the check has ended and before its result is read.
                    asyncio.get_running_loop().call_soon(self.then)
                    self.then = None
                return answer
            await asyncio.get_running_loop().create_future()
            raise AssertionError("only a cancellation ends this wait")
        finally:
            self.running -= 1
            self.at_once[0] -= 1

    async def close(self) -> None:
        assert self.running == 0
        self.closed = True


def _come(future: "asyncio.Future[None]") -> None:
    if not future.done():  # cancelled in the turn in which it was due
        future.set_result(None)


class Harness:
    """Active checks of upstreams with scripted probes; `told` is what the sink received."""

    def __init__(self, at_once: int = AT_ONCE, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # the rest of the loop is not used
        self.probes: defaultdict[str, ScriptedProbe] = defaultdict(self._probe)
        self.at_once = [0, 0]  # checks running now, and at most so far
        self.told: list[str] = []
        self.whys: list[str] = []
        self.unanswering: list[str] = []
        self.live: defaultdict[str, int] = defaultdict(int)
        self.errors: defaultdict[str, int] = defaultdict(int)  # live responses of 500 and above
        self.silences: dict[str, int] = {}  # silent upstream -> since when
        self.busy: set[str] = set()
        self.served_reads = 0
        self.checks = ActiveChecks[FakeUpstream](
            clock=self.clock,
            random=Random(seed),
            sink=self,
            open_probe=lambda upstream, settings: self.probes[upstream.id],
            loop=self.loop,
            at_once=at_once,
        )

    def _probe(self) -> ScriptedProbe:
        return ScriptedProbe(clock=self.clock, at_once=self.at_once)

    def add(self, *ids: str, **changes: object) -> list[FakeUpstream]:
        """Upstreams with these names, checked by SETTINGS with `changes`."""
        upstreams = [FakeUpstream(id) for id in ids]
        settings = replaced(SETTINGS, **changes)
        for upstream in upstreams:
            self.checks.add(upstream, settings)
        return upstreams

    def run(self, seconds: float) -> None:
        """Let time pass, with the loop on time."""
        self.loop.settle()
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            self.loop.settle()

    def stall(self, seconds: float) -> None:
        """Let time pass while the loop is stalled."""
        self.clock.advance(seconds)
        self.loop.settle()

    def close(self) -> None:
        """End the checks; nothing may be left."""
        task = self.loop.create_task(self.checks.close())
        self.loop.settle()
        assert task.done()
        task.result()
        assert self.loop.armed_timers == 0
        assert self.at_once[0] == 0

    # --- the sink

    def failing(self, upstream: FakeUpstream, why: str) -> None:
        self._tell(f"{upstream.id} failing", why)

    def passing(self, upstream: FakeUpstream, why: str) -> None:
        self._tell(f"{upstream.id} passing", why)

    def draining(self, upstream: FakeUpstream, on: bool, why: str) -> None:
        self._tell(f"{upstream.id} draining {'on' if on else 'off'}", why)

    def passed_first(self, upstream: FakeUpstream, what: str) -> None:
        self._tell(f"{upstream.id} checked", what)

    def unanswered(self, upstream: FakeUpstream, why: str) -> None:
        self.unanswering.append(f"{upstream.id}: {why}")

    def served(self, upstream: FakeUpstream) -> int:
        self.served_reads += 1
        return self.live[upstream.id]

    def answers(self, upstream: FakeUpstream) -> int:
        return self.live[upstream.id] + self.errors[upstream.id]

    def silent(self, upstream: FakeUpstream, since_ns: int) -> None:
        if self.silences.get(upstream.id, 0) != since_ns:
            self.silences[upstream.id] = since_ns
            self._tell(f"{upstream.id} {'silent' if since_ns else 'heard'}", "")

    def is_busy(self, upstream: FakeUpstream) -> bool:
        return upstream.id in self.busy

    def _tell(self, what: str, why: str) -> None:
        self.told.append(what)
        self.whys.append(why)
