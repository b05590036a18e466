"""A group of upstreams that share one policy: where a request's upstream is chosen."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable

from balancer.errors import Outcome
from balancer.policies.base import Policy
from balancer.telemetry.columns import UPSTREAM_INFLIGHT
from balancer.upstreams.upstream import Upstream

# Above this many upstreams the others' load is not read: policies sample there, and reading costs per row.
_REMOTE_LIMIT = 16
_REMOTE_REFRESH_NS = 5_000_000


class UpstreamPool:
    """The upstreams of one pool and the policy that picks among them.

    Every attempt passes `choose` when it begins and `finished` when it ends: inflight counts stay right
    because nothing else touches them.
    """

    __slots__ = ("_by_id", "_policy", "_remote", "_remote_read_ns", "_report", "_tracks_load",
                 "cells", "max_attempts", "name", "upstreams")  # fmt: skip

    def __init__(
        self,
        name: str,
        upstreams: list[Upstream],
        policy: Policy,
        max_attempts: int,
        cells: memoryview[int],
        report: Callable[[Exception], None],
    ) -> None:
        """`report` is told of a policy's own errors where they need not end an exchange."""
        self.name = name
        self.upstreams = upstreams
        self.max_attempts = max_attempts
        self.cells = cells
        self._by_id = {upstream.id: upstream for upstream in upstreams}
        self._policy = policy
        self._tracks_load = policy.tracks_load
        self._report = report
        self._remote: list[tuple[Upstream, list[memoryview[int]]]] = []
        self._remote_read_ns = 0
        self.rebuild()

    def watch_remote(self, rows: dict[str, list[memoryview[int]]]) -> None:
        """`rows`: upstream id -> its rows in the pages of the other incarnations, for load-aware policies."""
        if self._policy.compares_load and len(self.upstreams) <= _REMOTE_LIMIT:
            self._remote = [(upstream, rows[upstream.id]) for upstream in self.upstreams]

    def rebuild(self) -> None:
        """Hand the policy the candidates anew. To be called whenever eligibility or a weight changed."""
        self._policy.rebuild([upstream for upstream in self.upstreams if upstream.is_eligible()])

    def set_address(self, upstream_id: str, host: str) -> Upstream:
        """The name of this upstream resolves to `host` now. Raises KeyError for an unknown id."""
        upstream = self._by_id[upstream_id]
        upstream.set_host(host)
        self.rebuild()
        return upstream

    def choose(self, tried: tuple[Upstream, ...], now_ns: int) -> Upstream | None:
        """An upstream for one attempt, in flight until `finished`; None when there is none left."""
        if self._remote and now_ns - self._remote_read_ns > _REMOTE_REFRESH_NS:
            self._read_remote(now_ns)
        upstream = self._policy.pick(0, tried)
        if upstream is not None:
            if self._tracks_load:
                self._policy.started(upstream)
            upstream.inflight = inflight = upstream.inflight + 1
            upstream.cells[UPSTREAM_INFLIGHT] = inflight
        return upstream

    def finished(self, upstream: Upstream, latency_ns: int, outcome: Outcome) -> None:
        """The attempt that `choose` began is over."""
        upstream.inflight = inflight = upstream.inflight - 1
        upstream.cells[UPSTREAM_INFLIGHT] = inflight
        if self._tracks_load:
            try:
                self._policy.finished(upstream, latency_ns / 1e9, outcome)
            except Exception as error:
                self._report(error)

    def _read_remote(self, now_ns: int) -> None:
        self._remote_read_ns = now_ns
        for upstream, rows in self._remote:
            upstream.remote_inflight = sum([row[UPSTREAM_INFLIGHT] for row in rows])
