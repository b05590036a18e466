"""The parts of a pool that come from lower layers."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.outliers.local_ejector import LocalEjector
from balancer.queueing.queue import SlotQueue
from balancer.sticky.affinity import Affinity

# A row's number -> its cells in the pages of the other incarnations.
RemoteRows: TypeAlias = "Callable[[int], list[memoryview[int]]]"


@dataclass(frozen=True, slots=True)
class PoolParts:
    """The optional parts of a pool, None = off: `affinity` for sticky sessions, `queue` for requests while
    all upstreams are full, `ejector` for outliers, `adaptive` for adaptive concurrency limits. `remote_rows`
    returns the cells of a row in other workers' pages, None if there are no other workers."""

    affinity: Affinity | None = None
    queue: SlotQueue | None = None
    ejector: LocalEjector | None = None
    adaptive: AdaptiveLimits | None = None
    remote_rows: RemoteRows | None = None
