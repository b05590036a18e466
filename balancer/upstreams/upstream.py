"""One address that requests are sent to, as the data plane of one worker sees it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from balancer.upstreams.state import AdminState, Cause, FirstCheck
from balancer.upstreams.traffic_history import TrafficHistory

_NO_CAUSES: frozenset[Cause] = frozenset()


class Upstream:
    """An upstream of one pool.

    `id` is its name in the settings and stays when its `host` (an IP address, empty while a name has not
    been resolved) changes; `other_hosts` are other addresses of that name. `inflight` is this worker's,
    exact; `remote_inflight` what the other workers had a few milliseconds ago. `cells` is its row in this
    worker's page of the stats segment (columns in `telemetry.columns`), `row` the number of it, which is the
    same in every page.
    `admin_state`, `leaves_by_itself`, `causes`, `first_check`, `backup` and `on_probation` are as the
    supervisor last said; that it is an outlier this worker may know first. `ramp_since_ns` is when its slow
    start began, 0 where it has none; `silent_since_ns`, since when it has answered neither checks nor
    requests while others did, is 0 where it is not known to be silent. `history` is what this worker has seen
    of it.

    `answered_ns` is when it last answered a request of this worker's, on the monotonic clock.

    `max_inflight` is this worker's share of how many requests it may have in flight, `concurrency_limit` how
    many of them may await their first byte; 0 for no limit. `streaming` are those in flight whose response
    has begun, as far as it did not come whole. `turned_away`: since it was last looked at, it was picked, but
    full.
    """

    __slots__ = ("admin_state", "answered_ns", "authority", "backup", "causes", "cells",
                 "concurrency_limit", "effective_weight", "first_check", "history", "host", "id",
                 "inflight", "inflight_limit", "leaves_by_itself", "max_inflight", "on_probation",
                 "other_hosts", "port", "ramp_since_ns", "remote_inflight", "row",
                 "silent_since_ns", "streaming", "turned_away", "weight")  # fmt: skip

    def __init__(
        self, id: str, host: str, port: int, weight: int, cells: memoryview[int], row: int = 0
    ) -> None:
        self.id = id
        self.other_hosts: tuple[str, ...] = ()
        self.port = port
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
        self.max_inflight = 0
        self.concurrency_limit = 0
        self.turned_away = False
        self.inflight_limit = 0  # what follows from these three: in flight at once, 0 for no limit
        self.remote_inflight = 0
        self.cells = cells
        self.row = row
        self.set_host(host)

    def set_host(self, host: str) -> None:
        """Its address is `host` from now on."""
        self.host = host
        self.authority = f"[{host}]:{self.port}".encode() if ":" in host else f"{host}:{self.port}".encode()

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""
        return self.host != "" and self.effective_weight > 0

    def reckon_limit(self) -> int:
        """Bring `inflight_limit` up to date; gives the limit in force, which streams do not count towards."""
        limit = self.max_inflight
        adaptive = self.concurrency_limit
        self.inflight_limit = limit
        if adaptive and (not limit or adaptive + self.streaming < limit):
            self.inflight_limit = adaptive + self.streaming
        return min(limit, adaptive) if limit and adaptive else limit or adaptive

    def is_full(self) -> bool:
        """Whether it has all the requests that it may have from this worker."""
        return 0 < self.inflight_limit <= self.inflight

    def is_outlier(self) -> bool:
        """Whether it is ejected for how requests to it ended."""
        return Cause.OUTLIER in self.causes

    def __repr__(self) -> str:
        return f"<Upstream {self.id} {self.host}:{self.port} inflight={self.inflight}>"
