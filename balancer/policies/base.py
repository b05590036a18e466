"""The policy interface: what a policy gets and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final, TypeAlias

from mypy_extensions import mypyc_attr

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a policy is built with: randomness, time, and the worker's slot (where rotation starts)."""

    random: Random
    slot: int
    clock: Clock


# The key of a request without the value that HASH_KEY names. No policy sees it.
NO_KEY: Final = -1


@mypyc_attr(allow_interpreted_subclasses=True)
class Policy:
    """A rule that chooses an upstream. Subclass it, override `rebuild` and `pick`, register it.

    It is built as `cls(context, **options)`: the keyword parameters of its constructor are its options, each
    with a default and annotated as int, float, bool or str. Raise ValueError to refuse a value; its text ends
    a sentence that the operator reads ("choices is 0; write 1 or more").

    A policy does not deal with health, drain, slow start, panic, sticky sessions or caps: `candidates` holds
    only eligible upstreams, with `effective_weight > 0`. The core keeps `inflight`.
    """

    needs_key: ClassVar[bool] = False  # the pool computes the hash key only if True
    key_source: ClassVar[str | None] = None  # the source of the key, overrides the setting HASH_KEY
    tracks_load: ClassVar[bool] = False  # started() and finished() are called only if True
    compares_load: ClassVar[bool] = False  # the other workers' inflight is read only if True
    summary: ClassVar[str] = ""  # one line for people

    __slots__ = ("__weakref__", "context")

    def __init__(self, context: PolicyContext) -> None:
        self.context = context

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """The candidates or their weights have changed. Off the request path: it may take long."""
        raise NotImplementedError

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        """An upstream that is not in `tried`, or None if there is none. On the request path: pure CPU.

        `key` is the hash key as an evenly distributed unsigned 64-bit number; without `needs_key` it is
        meaningless.
        """
        raise NotImplementedError

    def started(self, upstream: Upstream) -> None:
        """An attempt at `upstream` begins; its `inflight` does not count it yet. It may not be a candidate,
        but an upstream on probation, which is tried now and then, one pinned by a session, or a backup."""

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        """An attempt ended after `latency` seconds (to the first byte of the response, if there was one)."""


# Registered under a name and called as factory(context, **options): usually the policy's class.
Factory: TypeAlias = Callable[..., Policy]
