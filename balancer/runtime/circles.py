"""Upstreams that lead back to this instance (L7): found by address, or by a request that comes back."""

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from balancer.clock import Clock, Seldom
from balancer.config.address import join_host_port
from balancer.config.ourselves import Ourselves
from balancer.discovery.member import Member
from balancer.proxy.loops import TOLD_EVERY
from balancer.runtime.states import PoolState, UpstreamState

KIND = "loop"  # of the events


class Say(Protocol):
    """Makes an event."""

    def __call__(self, kind: str, pool: str, upstream: str | None, cause: str | None, text: str) -> None:
        """With the next revision."""


class Circles:
    """Used by the fleet before it uses an address. A loop written in the settings is an error at start; one
    that discovery finds later, or along with others, is left out, with a log line and an event."""

    def __init__(self, own: Ourselves, clock: Clock, log: logging.Logger, say: Say) -> None:
        self._own = own
        self._log = log
        self._say = say
        self._seldom = Seldom(clock, TOLD_EVERY)
        self._left_out: dict[tuple[str, str], Mapping[str, str]] = {}  # by pool and source: ids, and why

    def settle(self, own: Ourselves) -> None:
        """Our own addresses are these now."""
        self._own = own

    def why_not(self, address: str, port: int) -> str:
        """Why nothing may be sent to the address: the end of a sentence that begins with it, "" if it may."""
        return self._own.why(address, port)

    def at_start(self, pools: Iterable[PoolState]) -> list[str]:
        """The entries of the settings that lead back: one sentence each."""
        found = []
        for pool in pools:
            for one in pool.upstreams.values():
                if one.leads_back:
                    found.append(f"{one.id} is at {one.leads_back}")
                elif one.address and (why := self.why_not(one.address, one.port)):
                    found.append(f"{one.id} {why}")
            for (name, source), left_out in self._left_out.items():
                if name == pool.name and left_out and not pool.upstreams:
                    found.append(f"{source} lists only {_first(left_out)}")
        return [f"BALANCER_UPSTREAMS: {sentence}" for sentence in found]

    def hold(self, upstream: UpstreamState, address: str, *, say: bool) -> bool:
        """Whether an upstream whose name has this address leads back to us; reported if `say`."""
        why = self.why_not(address, upstream.port)
        where = f"{join_host_port(address, upstream.port)}, which {why}" if why else ""
        if where and where != upstream.leads_back and say:
            text = f"is not used: it is at {where}"
            self._log.error("upstream %s of pool %s %s", upstream.id, upstream.pool, text)
            self._say(KIND, upstream.pool, upstream.id, None, f"{upstream.id} {text}")
        upstream.leads_back = where
        return bool(where)

    def without(self, pool: str, source: str, members: list[Member]) -> list[Member]:
        """The members without ourselves: the others can serve. Reported once, until not listed any more."""
        left_out = {one.id: why for one in members if (why := self.why_not(one.address, one.port))}
        before = self._left_out.get((pool, source), {})
        self._left_out[pool, source] = left_out
        for name in left_out.keys() - before.keys():
            text = f"{name}, found by {source}, is not used: it {left_out[name]}"
            self._log.error("pool %s: %s", pool, text)
            self._say(KIND, pool, name, None, text)
        return [one for one in members if one.id not in left_out]

    def came_back(self, pool: str, upstream: str | None, text: str) -> None:
        """A worker got a request that this instance had sent. All workers report that, repeatedly."""
        if self._seldom.may((pool, upstream)):
            self._log.error("pool %s: %s", pool, text)
            self._say(KIND, pool, upstream, None, text)


def _first(left_out: Mapping[str, str]) -> str:
    name, why = next(iter(left_out.items()))
    return f"{name}, which {why}"
