"""What discovery watches (L5): names looked up periodically, what is logged of them, and other sources."""

import asyncio
import logging
from abc import ABC, abstractmethod

from balancer.clock import Clock
from balancer.discovery.freshness import Freshness
from balancer.discovery.lookup import Resolver

TIMEOUT = 2.0  # seconds without an answer after which a name counts as not resolving


class Source(ABC):
    """One thing that is watched."""

    def __init__(self, label: str, clock: Clock) -> None:
        self.label = label  # its name in the log
        self.freshness = Freshness(clock)
        self.asked = asyncio.Event()  # it has reported something, or has had `timeout` seconds for it

    @abstractmethod
    async def run(self) -> None:
        """Watch it, until cancelled."""


class LookedUp(Source):
    """One name. A failed lookup changes nothing: the last result stays."""

    def __init__(
        self,
        label: str,
        name: str,
        refresh: float,
        resolver: Resolver,
        log: logging.Logger,
        clock: Clock,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(label, clock)
        self._name = name
        self._refresh = refresh
        self._resolver = resolver
        self._log = log
        self._timeout = timeout
        self._fails = False

    async def run(self) -> None:
        """Look the name up every `refresh` seconds, from start to start; at once if a lookup took longer."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self._ask()
            await asyncio.sleep(started + self._refresh - loop.time())

    @abstractmethod
    def found(self, addresses: tuple[str, ...]) -> None:
        """The name has these addresses now: at least one, in any order."""

    @abstractmethod
    def what_is_kept(self) -> str:
        """The end of the log line about a name that does not resolve: the consequence."""

    @abstractmethod
    def problem(self, why: str) -> None:
        """The name does not resolve any more: the reason in a few words; "" once it does again."""

    async def _ask(self) -> None:
        lookup = self._resolver.look_up(self._name)
        await asyncio.wait((lookup,), timeout=self._timeout)
        in_time = lookup.done()
        if not in_time:
            self.freshness.failed()
            self._failed(f"no answer within {self._timeout:g} s")
            # A second lookup would hang like the first, and this one's answer is still valid when it comes.
            await asyncio.wait((lookup,))
        answer = lookup.result()
        if answer.addresses:
            self.freshness.answered()
            if self._fails:
                self._fails = False
                self.problem("")
                self._log.info("%s resolves now", self.label)
            self.found(answer.addresses)
        else:
            if in_time:  # else it has been counted
                self.freshness.failed()
            self._failed(answer.problem)
        self.asked.set()

    def _failed(self, why: str) -> None:
        self.asked.set()
        if not self._fails:  # logged once, until it resolves again
            self._fails = True
            self.problem(why)
            self._log.warning("%s does not resolve (%s); %s", self.label, why, self.what_is_kept())
