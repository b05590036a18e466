"""One address that requests are sent to, as seen by the data plane of one worker."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Final

from balancer.counters import Batch, Counters
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from balancer.upstreams.traffic_history import TrafficHistory

_NO_CAUSES: Final[frozenset[Cause]] = frozenset()

UNIX: Final = "unix:"  # a host that is a unix socket: this and its path
NO_SLOT: Final = -1  # a share of a cap that is all in use by predecessors; 0 is no cap


class Upstream:
    """An upstream of one pool.

    `id` is its name in the settings and stays when its `host` (an IP address, empty until its name is
    resolved) changes; `other_hosts` are other addresses of that name. `inflight` is this worker's, exact;
    `remote_inflight` is that of the other workers a few milliseconds ago. `counters` and `cells` are its row
    in this worker's page of the stats segment (columns in `telemetry.columns`), `row` is the row's number,
    the same in every page. `admin_state`, `leaves_by_itself`, `causes`, `first_check`, `backup` and
    `on_probation` are as last sent by the supervisor; only an outlier ejection may happen in this worker
    first. `ramp_since_ns` is when its slow start began, 0 if there is none. `silent_since_ns`: since when it
    has answered neither checks nor requests while others did, 0 if it is not known to be silent. `history` is
    what this worker has seen of it.

    `answered_ns` is when it last answered a request of this worker, on the monotonic clock.

    `cap` bounds the requests in flight of all workers together, and `max_inflight`, this worker's share of
    it, its own: 0 = no cap, NO_SLOT = none may begin. `concurrency_limit` is the cap on those that await
    their first byte, 0 = no limit. `streaming` counts requests in flight whose response has
    begun but did not arrive whole. `turned_away`: it was picked while full since the last sample.
    """

    __slots__ = ("admin_state", "answered_ns", "authority", "backup", "cap", "causes", "cells",
                 "concurrency_limit", "counters", "effective_weight", "first_check", "history", "host", "id",
                 "inflight", "inflight_limit", "leaves_by_itself", "max_inflight", "on_probation",
                 "other_hosts", "port", "ramp_since_ns", "remote_inflight", "row",
                 "server_name", "silent_since_ns", "streaming", "turned_away", "weight")  # fmt: skip

    def __init__(
        self,
        id: str,
        host: str,
        port: int,
        weight: int,
        cells: memoryview[int],
        row: int = 0,
        batch: Batch | None = None,
    ) -> None:
        """`batch` stores the frequent counts together; without one each is stored at once."""
        self.id = id
        self.other_hosts: tuple[str, ...] = ()
        self.port = port
        self.server_name = ""
        self.weight = weight
        self.effective_weight = float(weight)
        self.admin_state = AdminState.ACTIVE
        self.causes = _NO_CAUSES
        self.first_check = FirstCheck.DONE
        self.leaves_by_itself = False
        self.backup = False
        self.ramp_since_ns = 0
        self.on_probation = False
        self.silent_since_ns = 0
        self.history = TrafficHistory()
        self.answered_ns = 0
        self.inflight = 0
        self.streaming = 0
        self.cap = 0
        self.max_inflight = 0
        self.concurrency_limit = 0
        self.turned_away = False
        # Derived from the fields above: cap on requests in flight, 0 = no limit, NO_SLOT = none may begin.
        self.inflight_limit = 0
        self.remote_inflight = 0
        self.cells = cells
        self.counters = Counters(cells, batch)
        self.row = row
        self.set_host(host)

    def set_host(self, host: str) -> None:
        """Change its address to `host`."""
        self.host = host
        if host.startswith(UNIX):
            self.authority = b"localhost"
        else:
            bare = f"[{host}]" if ":" in host else host
            self.authority = f"{bare}:{self.port}".encode()

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""
        return self.host != "" and self.effective_weight > 0

    def reckon_limit(self) -> int:
        """Update `inflight_limit`. Returns the limit in force, to which streams do not count; 0 for none, and
        for NO_SLOT: it adds nothing to the sum of all workers' limits."""
        limit = self.max_inflight
        adaptive = self.concurrency_limit
        self.inflight_limit = limit
        if adaptive and (not limit or adaptive + self.streaming < limit):
            self.inflight_limit = adaptive + self.streaming
        if limit == NO_SLOT:
            return 0
        return min(limit, adaptive) if limit and adaptive else limit or adaptive

    def is_full(self) -> bool:
        """Whether it has as many requests as it may have from this worker."""
        return self.inflight_limit != 0 and self.inflight_limit <= self.inflight

    def is_outlier(self) -> bool:
        """Whether outlier detection has ejected it."""
        return Cause.OUTLIER in self.causes

    def __repr__(self) -> str:
        return f"<Upstream {self.id} {self.host}:{self.port} inflight={self.inflight}>"
