"""The seam: what a policy is given and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, TypeAlias

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a policy may be built with: chance, time, and the worker's slot (rotation starts there)."""

    random: Random
    slot: int
    clock: Clock


# The key of a request that does not bring what HASH_KEY asks for. No policy sees it.
NO_KEY = -1


class Policy:
    """A rule that chooses an upstream. Subclass it, override `rebuild` and `pick`, register it.

    It is built as `cls(context, **options)`: the keyword parameters of its constructor are its options, each
    with a default and annotated as int, float, bool or str. ValueError refuses a value; its text ends a
    sentence that the operator reads ("choices is 0; write 1 or more").

    Health, drain, slow start, panic, sticky sessions and caps are no policy's business: `candidates` holds
    only eligible upstreams, with `effective_weight > 0`. The core keeps `inflight`.
    """

    needs_key: ClassVar[bool] = False  # the pool computes the hash key only if True
    key_source: ClassVar[str | None] = None  # what the key is made of, whatever the setting HASH_KEY says
    tracks_load: ClassVar[bool] = False  # started() and finished() are called only if True
    compares_load: ClassVar[bool] = False  # the other workers' inflight is read only if True
    summary: ClassVar[str] = ""  # one line for people

    __slots__ = ("__weakref__", "context")

    def __init__(self, context: PolicyContext) -> None:
        self.context = context

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """The candidates or their weights have changed. Off the request path: it may take its time."""
        raise NotImplementedError

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        """An upstream that is not in `tried`, or None when there is none. On the request path: pure CPU.

        `key` is the hash key as an unsigned 64-bit number that is evenly spread already; without `needs_key`
        it means nothing.
        """
        raise NotImplementedError

    def started(self, upstream: Upstream) -> None:
        """An attempt at `upstream` begins; its `inflight` does not count it yet. It may be no candidate but
        one on probation, which is tried now and then, one that a session is pinned to, or a backup."""

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        """An attempt ended after `latency` seconds (to the response's first byte where there was one)."""


# What is registered under a name, called as factory(context, **options): usually the policy's class.
Factory: TypeAlias = Callable[..., Policy]
