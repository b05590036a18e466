"""Entries of UPSTREAMS that find upstreams (L5): what they report to the fleet, and what is logged."""

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from balancer.clock import Clock
from balancer.discovery.member import Member
from balancer.discovery.source import TIMEOUT, Source

ResultT = TypeVar("ResultT")
_REMEMBERED = 8  # problems that are not logged again until it works


class MembersSink(Protocol):
    """Where the found upstreams are reported."""

    def set_members(self, pool: str, source: str, members: Sequence[Member], /) -> None:
        """These are all members of `source`; earlier ones that are not among them are gone."""

    def set_problem(self, pool: str, source: str, why: str, fails: str, works: str, /) -> None:
        """`source` finds nothing, for this reason; "" once it does again. `fails` and `works` say both of it:
        "does not resolve", "resolves now"."""


class Aside(Protocol):
    """Calls in a thread of its own what may take long."""

    def __call__(self, name: str, call: Callable[[], ResultT], /) -> Awaitable[ResultT]:
        """What `call` returns, or raises; RuntimeError if there can be no thread. `name` is the thread's."""


class EntrySource(Source):
    """One entry of a pool. A failure changes nothing: its last members stay.

    Members are reported whenever they were looked at, changed or not: so a sink that left one out, because
    another source had it, can add it later.
    """

    fails = "cannot be used"
    works = "can be used again"

    def __init__(
        self,
        pool: str,
        entry: str,
        sink: MembersSink,
        log: logging.Logger,
        clock: Clock,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(entry, clock)
        self._pool = pool
        self._entry = entry
        self._sink = sink
        self._log = log
        self._timeout = timeout
        self._members: Sequence[Member] = ()
        self._said: deque[str] = deque(maxlen=_REMEMBERED)  # its problems since it worked last

    @abstractmethod
    async def follow(self) -> None:
        """Call `found` and `failed`, until cancelled."""

    async def run(self) -> None:
        """Follow it. If it reports nothing for `timeout` seconds, nobody waits for it any longer."""
        late = asyncio.get_running_loop().call_later(self._timeout, self._is_late)
        try:
            await self.follow()
        finally:
            late.cancel()

    def found(self, members: Sequence[Member]) -> None:
        """These are all members now; it works."""
        self.freshness.answered()
        if self._said:
            self._said.clear()
            self._sink.set_problem(self._pool, self._entry, "", self.fails, self.works)
            self._log.info("%s %s", self._entry, self.works)
        self.report(members)

    def report(self, members: Sequence[Member]) -> None:
        """These are all members now, whether it works or not."""
        self.asked.set()
        self._members = members
        self._sink.set_members(self._pool, self._entry, members)

    def failed(self, why: str) -> None:
        """It cannot be used now, for this reason; logged once, until it works again."""
        self.freshness.failed()
        self.asked.set()
        if why in self._said:
            return
        self._said.append(why)
        self._sink.set_problem(self._pool, self._entry, why, self.fails, self.works)
        self._log.warning("%s %s (%s); %s", self._entry, self.fails, why, self._what_is_kept())

    def _is_late(self) -> None:
        if not self.asked.is_set():
            self.failed(f"no answer within {self._timeout:g} s")

    def _what_is_kept(self) -> str:
        count = len(self._members)
        return f"keeping its {count} upstream{'s' * (count != 1)}" if count else "it has no upstream"
