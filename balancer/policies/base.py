"""The seam: what a policy is given and what it answers."""

from collections.abc import Sequence
from typing import ClassVar

from balancer.errors import Outcome
from balancer.upstreams.upstream import Upstream


class Policy:
    """A rule that chooses an upstream. Subclass it, override `rebuild` and `pick`, register it.

    Health, drain, slow start, panic, sticky sessions and caps are no policy's business: `candidates` holds
    only eligible upstreams, with `effective_weight > 0`. The core keeps `inflight`.
    """

    needs_key: ClassVar[bool] = False  # the pool computes the hash key only if True
    tracks_load: ClassVar[bool] = False  # started() and finished() are called only if True
    compares_load: ClassVar[bool] = False  # the other workers' inflight is read only if True
    summary: ClassVar[str] = ""  # one line for people

    __slots__ = ("__weakref__",)

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """The candidates or their weights have changed. Off the request path: it may take its time."""
        raise NotImplementedError

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        """An upstream that is not in `tried`, or None when there is none. On the request path: pure CPU.

        `key` is the hash key as an unsigned 64-bit number, 0 unless `needs_key`.
        """
        raise NotImplementedError

    def started(self, upstream: Upstream) -> None:
        """An attempt at `upstream` begins; its `inflight` does not count it yet."""

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        """An attempt ended after `latency` seconds (to the response's first byte where there was one)."""
