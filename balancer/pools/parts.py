"""What a pool has of the lower rooms."""

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
    """What a pool may have besides its policy, None for what it does without: `affinity` for sticky sessions,
    the `queue` where requests wait while all upstreams are full, `ejector` for outliers, `adaptive` for
    limits that find themselves. `remote_rows` returns what other workers count in a row, None where there
    are no others."""

    affinity: Affinity | None = None
    queue: SlotQueue | None = None
    ejector: LocalEjector | None = None
    adaptive: AdaptiveLimits | None = None
    remote_rows: RemoteRows | None = None
