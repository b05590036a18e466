"""The objects that all exchanges of a worker share."""

import asyncio
from collections.abc import Callable

from balancer.clock import Clock
from balancer.connections.connector import Connector
from balancer.connections.delay_queue import DelayQueue
from balancer.counters import Batch
from balancer.http.request_ids import RequestIds
from balancer.proxy.dialling import CONNECT_RACE_DELAY, Dialling
from balancer.proxy.explaining import Explaining
from balancer.proxy.loops import Loops
from balancer.proxy.replay import ReplayMemory
from balancer.proxy.router import Router
from balancer.proxy.tracing import Tracing
from balancer.proxy.waiting_bodies import WaitingBodies


class ProxyContext:
    """Built once per worker. `report` is called with exceptions that are our own bugs."""

    __slots__ = ("batch", "connect_races", "connector", "explaining", "loop", "loops", "monotonic_ns",
                 "replay_memory", "report", "request_ids", "router", "tracing", "waiting_bodies")  # fmt: skip

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        batch: Batch,
        router: Router,
        connector: Connector,
        loops: Loops,
        request_ids: RequestIds,
        explaining: Explaining,
        report: Callable[[Exception], None],
        tracing: Tracing | None = None,
    ) -> None:
        """`tracing` is None if traces are off."""
        self.loop = loop
        self.monotonic_ns = clock.monotonic_ns
        self.batch = batch
        self.router = router
        self.connector = connector
        self.loops = loops
        self.request_ids = request_ids
        self.explaining = explaining
        self.report = report
        self.tracing = tracing
        self.replay_memory = ReplayMemory()
        self.waiting_bodies = WaitingBodies(loop)
        self.connect_races: DelayQueue[Dialling] = DelayQueue(loop, clock, CONNECT_RACE_DELAY, Dialling.race)
