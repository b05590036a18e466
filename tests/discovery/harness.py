"""Shared by the tests of discovery: an instance's discovery on a fake loop, and a recording fleet."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from balancer.discovery.base import MemberSource
from balancer.discovery.discovery import Discovery
from balancer.discovery.lookup import Answer
from balancer.discovery.member import Member
from balancer.discovery.service_lookup import Services
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.resolver import FakeResolver

ResultT = TypeVar("ResultT")
NOT_KNOWN = Answer(problem="Name or service not known")


@dataclass(slots=True, eq=False)
class Replica:
    """An upstream of the settings with a name."""

    host: str
    address: str = ""
    pool: str = "default"


@dataclass
class FleetBook:
    """The sink: the last `members` by (pool, source), and `told`, every report of them."""

    members: dict[tuple[str, str], Sequence[Member]] = field(default_factory=dict)
    told: list[Sequence[Member]] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()  # addresses that lead back to the balancer
    broken: bool = False

    def may_use(self, upstream: Replica, address: str) -> bool:
        return address not in self.ours

    def set_address(self, upstream: Replica, address: str, why: str = "") -> None:
        upstream.address = address
        self.moves.append((upstream.host, address))
        self.reasons.append(why)

    def set_other_addresses(self, upstream: Replica, others: tuple[str, ...]) -> None:
        self.others[upstream.host] = others

    def set_problem(self, pool: str, source: str, why: str, fails: str, works: str) -> None:
        self.problems[pool, source] = why

    def set_members(self, pool: str, source: str, members: Sequence[Member]) -> None:
        if self.broken:
            raise ValueError("broken")
        self.members[pool, source] = members
        self.told.append(members)


class FakeThread:
    """Calls at once; with `broken` there is no thread to call in, and with `hangs` it never returns."""

    def __init__(self) -> None:
        self.broken = False
        self.hangs = False

    async def __call__(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        if self.broken:
            raise RuntimeError("can't start new thread")
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return call()


def _none(url: str) -> MemberSource:
    raise AssertionError(f"no source for {url}")


class Harness:
    """Discovery as used by the supervisor. `start` and `advance` leave nothing ready on the loop."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.resolver = FakeResolver()
        self.fleet = FleetBook()
        self.thread = FakeThread()
        self.services: dict[str, Services] = {}  # by name
        self.asked_at: list[tuple[str, str]] = []  # names of services, and nameservers
        self.own: Callable[[str], MemberSource] = _none
        self.discovery: Discovery[Replica] = Discovery(
            self.fleet,
            self.resolver,
            logging.getLogger("test"),
            self.clock,
            self.thread,
            services=self._services,
            build_own=self._build_own,
        )
        self._begin = self.loop.time()

    def _services(self, name: str, nameserver: str) -> Services:
        self.asked_at.append((name, nameserver))
        return self.services[name]

    def _build_own(self, url: str) -> MemberSource:
        return self.own(url)

    def start(self) -> None:
        self.task = self.loop.create_task(self.discovery.run())
        self.asked = self.loop.create_task(self.discovery.asked())
        self.loop.settle()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()

    def stop(self) -> None:
        """Cancel, and check that nothing is left."""
        self.asked.cancel()
        self.task.cancel()
        self.loop.settle()
        assert self.task.cancelled()
        assert self.loop.armed_timers == 0
        assert self.resolver.closed

    @property
    def starts(self) -> list[float]:
        """When lookups began, in seconds from the start."""
        return [round(when - self._begin, 3) for when, _ in self.resolver.asked]

    def addresses(self, source: str = "dns://app:8000", pool: str = "default") -> list[str]:
        """Addresses of the members in the last report to the fleet."""
        return [member.address for member in self.fleet.members.get((pool, source), ())]
