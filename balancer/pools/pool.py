"""A pool of upstreams that share one policy: chooses the upstream of each request."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from balancer.edges import CELLS
from balancer.errors import Outcome
from balancer.outliers.local_ejector import LATELY_NS, Asker
from balancer.policies.base import NO_KEY, Policy
from balancer.pools.hash_key import HashKey, hash_key
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.retry_budget import RetryBudget
from balancer.spec.worker import PoolSpec
from balancer.telemetry.columns import (
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_STREAMING,
)
from balancer.upstreams.fault import Fault
from balancer.upstreams.state import candidates, standing_by
from balancer.upstreams.traffic_history import TrafficHistory
from balancer.upstreams.upstream import Upstream

# With more upstreams, other workers' load is not read: policies sample there, and each row read costs.
_REMOTE_LIMIT: Final = 16
_REMOTE_REFRESH_NS: Final = 5_000_000
# How often a policy that picks full upstreams is asked; then the pool takes the least loaded free one.
_ASKS: Final = 8
_SUCCESS: Final = Outcome.SUCCESS
_FIRST_BYTES: Final = slice(UPSTREAM_FIRST_BYTE, UPSTREAM_FIRST_BYTE + CELLS)


class Room(Enum):
    """Whether a pool has room for a request at the upstreams that have not been tried."""

    FREE = auto()  # one has room
    FULL = auto()  # all have as many requests as they may
    NONE = auto()  # there are none


class UpstreamPool:
    """The upstreams of one pool and the policy that picks among them.

    Every attempt passes `choose` when it begins and `finished` when it ends: inflight counts stay right
    because nothing else changes them. `queue` is where requests wait while all upstreams are full, None if
    queueing is off. While it is `starting` no active check has passed yet: its apps may not be up.
    """

    __slots__ = ("_backups", "_candidates", "_capped", "_chosen", "_free", "_panic", "_picker",
                 "_remote", "_remote_read_ns", "_remote_rows", "_tracks_load", "adaptive",
                 "affinity", "cells", "checked_within_ns", "ejector", "hash_key", "name", "panics",
                 "policy_name", "queue", "retry", "retry_budget", "serves", "starting",
                 "upstreams")  # fmt: skip

    def __init__(
        self,
        spec: PoolSpec,
        picker: Picker,
        cells: memoryview[int],
        now_ns: int,
        parts: PoolParts,
    ) -> None:
        """`cells` is the pool's row."""
        self.name = spec.name
        self.policy_name = spec.policy.name
        self.upstreams: list[Upstream] = []
        self.starting = False
        self.retry = spec.retry
        self.retry_budget = RetryBudget(spec.retry.budget_ratio, spec.retry.budget_floor, now_ns)
        policy = picker.policy
        key_source = policy.key_source or spec.hash_key
        self.hash_key: HashKey | None = hash_key(key_source) if policy.needs_key else None
        self.checked_within_ns = 0
        self.cells = cells
        self.affinity = parts.affinity
        self.queue = parts.queue
        self.ejector = parts.ejector
        self.adaptive = parts.adaptive
        self._picker = picker
        self._tracks_load = picker.tracks_load
        self._panic = spec.panic
        self.serves = False  # an upstream is eligible
        self.panics = False  # none is, and ejected ones are used
        self._remote_rows = parts.remote_rows if picker.compares_load else None
        self._remote: list[tuple[Upstream, list[memoryview[int]]]] = []
        self._remote_read_ns = 0
        self._chosen: list[Upstream] = []  # the policy's candidates
        self._backups: list[Upstream] = []  # those standing by; the last one used is at the end
        self._capped = False  # whether any candidate has a limit; if not, the two below are empty
        self._candidates: frozenset[Upstream] = frozenset()
        self._free: dict[Upstream, None] = {}  # the candidates that are not full
        if self.queue is not None:
            self.queue.has_slot = self.has_slot
        if self.adaptive is not None:
            self.adaptive.changed = self._limits_changed
            if self.queue is not None:
                self.adaptive.is_awaited = self.queue.has_waiting

    def set_members(self, upstreams: list[Upstream]) -> None:
        """Set the upstreams. Also call this whenever the state, address, weight or limit of one has changed:
        it updates the policy's candidates."""
        self.upstreams = upstreams
        self._find_remote()
        if self.affinity is not None:
            self.affinity.set_members(upstreams)
        self.rebuild()

    def others_changed(self) -> None:
        """Other incarnations have come or gone: read the rows of those that are running."""
        self._find_remote()
        if self.adaptive is not None:
            self.adaptive.rebuild(self.upstreams, self._chosen)

    def _find_remote(self) -> None:
        rows_of = self._remote_rows if len(self.upstreams) <= _REMOTE_LIMIT else None
        found = [] if rows_of is None else [(one, rows_of(one.row)) for one in self.upstreams]
        self._remote = [(one, rows) for one, rows in found if rows]
        if not self._remote:
            for one in self.upstreams:
                one.remote_inflight = 0

    def rebuild(self) -> None:
        """Determine the candidates again and give them to the policy."""
        chosen, panics = candidates(self.upstreams, self._panic)
        self.serves = bool(chosen) and not panics
        self.panics = panics and bool(chosen[0].causes)  # not if it only announced that it drains
        self._picker.rebuild(chosen)
        if self.affinity is not None:
            self.affinity.rebuild(chosen)
        if self.ejector is not None:
            self.ejector.rebuild(self.upstreams, chosen)
        self._chosen = chosen
        self._backups = standing_by(self.upstreams, chosen, self._panic)
        if self.adaptive is not None:
            self.adaptive.rebuild(self.upstreams, chosen)
        self.take_up_limits()
        if self.queue is not None and self.queue.waiting:
            self.queue.wake(everybody=True)

    def _limits_changed(self, changed: Sequence[Upstream]) -> None:
        """The adaptive limits of these upstreams have changed. While all keep one, nothing else changes."""
        if not self._capped or not all(one.concurrency_limit for one in changed):
            self.take_up_limits()
            return
        for one in changed:
            one.cells[UPSTREAM_INFLIGHT_LIMIT] = one.reckon_limit()
            if one.is_full():
                self._free.pop(one, None)
            elif one in self._candidates:
                self._free[one] = None
        if self.queue is not None and self.queue.waiting and self.has_slot():
            self.queue.wake()

    def take_up_limits(self) -> None:
        """Call this when any limit, or share of a cap, may have changed."""
        for one in self.upstreams:
            one.cells[UPSTREAM_INFLIGHT_LIMIT] = one.reckon_limit()
        chosen = self._chosen
        self._capped = any(one.inflight_limit for one in chosen)
        self._candidates = frozenset(chosen if self._capped else ())
        self._free = {one: None for one in chosen if not one.is_full()} if self._capped else {}
        if self.queue is not None and self.queue.waiting and self.has_slot():
            self.queue.wake()

    def choose(
        self,
        key: int,
        tried: tuple[Upstream, ...],
        now_ns: int,
        pinned: Upstream | None = None,
        method: bytes = b"",
        backup: Upstream | None = None,
    ) -> Upstream | None:
        """An upstream for one attempt, in flight until `finished`; None if there is none left.

        `key` is the result of `hash_key`, 0 if that is None. `pinned`, the result of `affinity`, takes
        precedence over the policy if it accepts its sessions, is not full and has not been tried. The
        request's `method` decides whether it may try an upstream on probation at once. `backup` is for
        `choose_backup`. After None, `is_full` tells whether waiting would help.
        """
        if self._remote and now_ns - self._remote_read_ns > _REMOTE_REFRESH_NS:
            self._read_remote(now_ns)
        kept = backup if pinned is None else self._keep(pinned, key, tried)
        ejector = self.ejector
        if ejector is not None and ejector.on_probation and kept is None and not tried:
            kept = ejector.on_trial(method, now_ns)
        picker = self._picker
        policy = picker.active if key != NO_KEY else picker.keyless
        try:
            upstream = kept or (
                self._pick_free(policy, key, tried) if self._capped else policy.pick(key, tried)
            )
        except Exception as error:
            if policy is picker.keyless:
                raise
            picker.blame(error, "failed in a pick; the least connected upstream was used instead")
            return self.choose(NO_KEY, tried, now_ns, pinned, method)
        if upstream is not None:
            if self._tracks_load:
                if self.affinity is not None:
                    self.affinity.diversion.started(upstream)
                picker.started(upstream)
            upstream.inflight = inflight = upstream.inflight + 1
            upstream.cells[UPSTREAM_INFLIGHT] = inflight  # at once: `drain --wait` and other workers go by it
            if inflight == upstream.inflight_limit:
                self._free.pop(upstream, None)
        return upstream

    def choose_backup(self, tried: tuple[Upstream, ...]) -> Upstream | None:
        """A backup for one attempt of a request that has failed at every candidate, in flight until
        `finished`. None if a candidate is left, full or not, or if no backup has a slot."""
        if not self._backups or any(one not in tried for one in self._chosen):
            return None
        left = [one for one in self._backups if one not in tried and not one.is_full()]
        if not left:
            return None
        upstream = min(left, key=lambda one: one.inflight / one.effective_weight)
        self._backups.remove(upstream)
        self._backups.append(upstream)
        return self.choose(NO_KEY, tried, 0, backup=upstream)

    def _keep(self, pinned: Upstream, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        """The upstream a request is pinned to, if it can take the request."""
        affinity = self.affinity
        if affinity is None or pinned in tried or not self.keeps(pinned):
            return None
        affinity.diversion.stayed(pinned, key)
        return pinned

    def finished(
        self,
        upstream: Upstream,
        latency_ns: int,
        outcome: Outcome,
        began_ns: int = LATELY_NS,
        asker: Asker | None = None,
    ) -> None:
        """The attempt that `choose` began has ended. It was sent at `began_ns`, for `asker`; its response, if
        any, began `latency_ns` later. A failure after connecting is judged later, by `judge`."""
        upstream.inflight = inflight = upstream.inflight - 1
        upstream.cells[UPSTREAM_INFLIGHT] = inflight
        if self._capped and inflight < upstream.inflight_limit and upstream in self._candidates:
            self._free[upstream] = None
            if self.queue is not None and self.queue.waiting:
                self.queue.wake()
        if self._tracks_load:
            if self.affinity is not None:
                self.affinity.diversion.finished(upstream, latency_ns / 1e9, outcome)
            self._picker.finished(upstream, latency_ns / 1e9, outcome)
        ejector = self.ejector
        if ejector is not None:
            history = upstream.history
            if outcome is _SUCCESS and not history.watched:
                history.successes += 1
            elif ejector.weigh(upstream, outcome, began_ns, latency_ns, asker):
                self.rebuild()

    def judge(self, upstream: Upstream, history: TrafficHistory, fault: Fault, began_ns: int) -> None:
        """An exchange has shown whose fault the failure of an attempt at `upstream` was. The attempt was sent
        at `began_ns`; `history` was the upstream's when it ended."""
        if self.ejector is not None and self.ejector.judge(upstream, history, fault, began_ns):
            self.rebuild()

    def stream_began(self, upstream: Upstream) -> None:
        """The response to an attempt has begun, but has not arrived whole."""
        upstream.streaming = streaming = upstream.streaming + 1
        upstream.cells[UPSTREAM_STREAMING] = streaming
        if upstream.concurrency_limit:
            upstream.reckon_limit()
            if not upstream.is_full() and upstream in self._candidates:
                self._free[upstream] = None
                if self.queue is not None and self.queue.waiting:
                    self.queue.wake()

    def stream_ended(self, upstream: Upstream) -> None:
        """The streamed response has ended; `finished` is called next."""
        upstream.streaming = streaming = upstream.streaming - 1
        upstream.cells[UPSTREAM_STREAMING] = streaming
        if upstream.concurrency_limit:
            upstream.reckon_limit()

    def client_left(self, waited_ns: int, now_ns: int) -> None:
        """A client has left after `waited_ns`, in the queue or before its response began."""
        queue = self.queue
        if queue is not None and queue.client_left(waited_ns, now_ns):
            upstreams = self.upstreams
            for one in upstreams:
                one.counters.flush()
            rows = [one.cells[_FIRST_BYTES].tolist() for one in upstreams]
            cells = [sum(column, 0) for column in zip(*rows, strict=True)]
            first_bytes = upstreams[0].counters.edges.ascending(cells) if upstreams else []
            ages = [now_ns - since for since in queue.waiting.values()]
            inflight = sum((one.inflight for one in upstreams), 0)
            queue.patience.learn(now_ns, self.retry_budget.requests, first_bytes, ages, inflight)
            queue.consider(now_ns)

    def retry_after(self) -> int:
        """Seconds after which a request that was refused for lack of a slot may be retried."""
        return 1 if self.queue is None else self.queue.retry_after()

    def overruled(self, upstream: Upstream) -> None:
        """The supervisor has refused an outlier ejection made here."""
        if self.ejector is not None:
            self.ejector.overruled(upstream)
            self.rebuild()

    def room(self, tried: tuple[Upstream, ...]) -> Room:
        """The room for a request that has failed at `tried`; backups count if no candidate is left."""
        if any(one not in tried for one in self._chosen):
            return Room.FULL if self.is_full(tried) else Room.FREE
        standing_by = any(one not in tried and not one.is_full() for one in self._backups)
        return Room.FREE if standing_by else Room.NONE

    def is_full(self, tried: tuple[Upstream, ...]) -> bool:
        """Whether there are untried upstreams, and all of them are full."""
        if any(one not in tried for one in self._free):
            return False
        return any(one not in tried for one in self._candidates)

    def keeps(self, pinned: Upstream) -> bool:
        """Whether an upstream has a slot for the requests pinned to it, and accepts them."""
        return not pinned.is_full() and self.affinity is not None and self.affinity.accepts(pinned)

    def look(self, now_ns: int) -> tuple[Sequence[Upstream], bool]:
        """The policy's candidates, and whether it sees what other workers have in flight there: for
        explanations."""
        if self._remote and now_ns - self._remote_read_ns > _REMOTE_REFRESH_NS:
            self._read_remote(now_ns)
        return self._chosen, bool(self._remote)

    def has_slot(self) -> bool:
        """Whether an upstream has a slot, or needs none."""
        return not self._candidates or bool(self._free)

    def _pick_free(self, policy: Policy, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        """The pick of `policy` among upstreams that are not full. Policies know nothing of limits: full ones
        that it picks are passed to it as tried."""
        free = self._free
        if len(free) < 2:
            return next((one for one in free if one not in tried), None)
        passed = tried
        for _ in range(_ASKS):
            upstream = policy.pick(key, passed)
            if upstream is None or upstream in free:
                return upstream
            upstream.turned_away = True
            passed = (*passed, upstream)
        left = [one for one in free if one not in tried]
        return min(left, key=lambda one: one.inflight / one.effective_weight, default=None)

    def _read_remote(self, now_ns: int) -> None:
        self._remote_read_ns = now_ns
        for upstream, rows in self._remote:
            upstream.remote_inflight = sum([row[UPSTREAM_INFLIGHT] for row in rows], 0)
