"""How far sticky sessions disturb the balance: counts pinned requests that the policy would send elsewhere.

Asking the policy itself would advance its rotation for a request that it does not place. So a twin is asked:
the same class with the same options and inputs, and its own rotation.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable, Sequence
from typing import Final

from balancer.errors import Outcome
from balancer.policies.base import NO_KEY, Policy
from balancer.telemetry.columns import POOL_STICKY_DIVERTED
from balancer.upstreams.upstream import Upstream

SAMPLE: Final = 16  # one in this many requests is checked, and counts as this many


class Diversion:
    """Counts in the pool's row. A twin that fails is not asked again until the next rebuild."""

    __slots__ = ("_by_load_alone", "_cells", "_fails", "_report", "_seen", "_twin")

    def __init__(self, twin: Policy, cells: memoryview[int], report: Callable[[Exception], None]) -> None:
        self._twin = twin
        self._by_load_alone = twin.compares_load and not twin.tracks_load
        self._cells = cells
        self._report = report
        self._seen = 0
        self._fails = True  # not built yet

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """Give the twin the policy's candidates."""
        self._fails = False
        try:
            self._twin.rebuild(candidates)
        except Exception as error:
            self._failed(error)

    def stayed(self, pinned: Upstream, key: int) -> None:
        """A request goes to the upstream it is pinned to; `inflight` does not count it yet."""
        self._seen = seen = self._seen + 1
        if seen < SAMPLE or self._fails or key == NO_KEY:
            return
        self._seen = 0
        try:
            picked = self._twin.pick(key, ())
        except Exception as error:
            self._failed(error)
            return
        if picked is None or picked is pinned:
            return
        # A policy that only compares load has no preference among equally loaded ones: it just rotates.
        if not self._by_load_alone or _load(picked) != _load(pinned):
            self._cells[POOL_STICKY_DIVERTED] += SAMPLE

    def started(self, upstream: Upstream) -> None:
        """As `Policy.started`."""
        if not self._fails:
            try:
                self._twin.started(upstream)
            except Exception as error:
                self._failed(error)

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        """As `Policy.finished`."""
        if not self._fails:
            try:
                self._twin.finished(upstream, latency, outcome)
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._fails = True
        error.add_note(f"policy {type(self._twin).__name__} failed when asked what it would have picked")
        self._report(error)


def _load(upstream: Upstream) -> float:
    return (upstream.inflight + upstream.remote_inflight) / upstream.effective_weight
