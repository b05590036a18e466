"""Chooses which policy picks in a pool: its own, or a fallback if it fails, so that a bug costs no request.

`UpstreamPool.choose` asks the `active` or the `keyless` policy.
"""

from collections.abc import Callable, Sequence

from balancer.errors import Outcome
from balancer.policies.base import Policy
from balancer.upstreams.upstream import Upstream


class Picker:
    """`keyless` picks for requests without a hash key if `policy` needs one, and for all requests if `policy`
    fails; it must not fail itself. `active` picks for the others: `policy`, unless it failed at the last
    rebuild. `report` gets a policy's own errors: the first of each kind until the next rebuild, not one per
    request.
    """

    __slots__ = ("_blamed", "_pool", "_report", "active", "compares_load", "keyless", "policy",
                 "tracks_load")  # fmt: skip

    def __init__(
        self, pool: str, policy: Policy, keyless: Policy, report: Callable[[Exception], None]
    ) -> None:
        """`pool` is the pool's name, for the reports."""
        self.policy = policy
        self.tracks_load = policy.tracks_load
        self.compares_load = policy.compares_load or (policy.needs_key and keyless.compares_load)
        self._pool = pool
        self.keyless = keyless
        self.active = keyless
        self._report = report
        self._blamed: set[tuple[str, type[Exception]]] = set()

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """Give the policy these candidates. A policy that fails at this is not used until it succeeds."""
        self._blamed.clear()
        self.keyless.rebuild(candidates)
        try:
            self.policy.rebuild(candidates)
        except Exception as error:
            self.active = self.keyless
            self.blame(error, f"cannot be rebuilt with {len(candidates)} candidates, and is bypassed")
        else:
            self.active = self.policy

    def started(self, upstream: Upstream) -> None:
        """An attempt begins, not yet in flight. Called only if the policy `tracks_load`."""
        try:
            self.policy.started(upstream)
        except Exception as error:
            self.blame(error, "failed at the start of an attempt")

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        """An attempt has ended. Called only if the policy `tracks_load`."""
        try:
            self.policy.finished(upstream, latency, outcome)
        except Exception as error:
            self.blame(error, "failed at the end of an attempt")

    def blame(self, error: Exception, what: str) -> None:
        """Report a bug of the policy; `what` completes the sentence "policy ... of pool ..."."""
        kind = (what, type(error))
        if kind not in self._blamed:
            self._blamed.add(kind)
            error.add_note(f"policy {type(self.policy).__name__} of pool {self._pool} {what}")
            self._report(error)
