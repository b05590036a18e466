"""Keeps the explanations of requests that workers have made (L7): the last ones, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, NamedTuple

from balancer.admin.explained import Summary, Watched, Wish
from balancer.clock import Clock
from balancer.messages import Explained, FailureRecord, Watch
from balancer.proxy.account import FAILURE, RETRY
from balancer.runtime.failed import explained_failure
from balancer.spec.explained import Explanation
from balancer.spec.part import Decoder, encode
from balancer.spec.worker import WorkerSpec

MOST: Final = 300  # of requests in trouble, and of others
MOST_BYTES: Final = 4 << 20  # of each


class _Kept(NamedTuple):
    """One explanation, as JSON: that takes a fifth of the memory."""

    number: int
    summary: Summary
    data: bytes


class _Ring:
    """The last explanations of one kind."""

    __slots__ = ("_size", "kept")

    def __init__(self) -> None:
        self.kept: deque[_Kept] = deque()
        self._size = 0

    def add(self, one: _Kept) -> None:
        self.kept.append(one)
        self._size += len(one.data)
        while len(self.kept) > MOST or self._size > MOST_BYTES:
            self._size -= len(self.kept.popleft().data)


class Explanations:
    """Those of requests in trouble are kept apart, so that no filter or sample displaces them. `broadcast`
    reaches all workers; `failure` finds an error by its request id: of some there is no more."""

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        broadcast: Callable[[Watch], None],
        failure: Callable[[str], FailureRecord | None],
        clock: Clock,
    ) -> None:
        self._failure = failure
        self._broadcast = broadcast
        self._clock = clock
        self._troubled = _Ring()
        self._others = _Ring()
        self._count = 0
        self._decoder: Decoder[Explanation] = Decoder(Explanation)
        self._watch = Watch(until_ns=0)
        self._words = ""
        self.left_out = 0
        self.settle(spec)

    def settle(self, spec: WorkerSpec) -> None:
        """The settings are these now."""
        self._sample = spec.explain_sample
        self._by_header = bool(spec.listener.trusted_proxies)

    def take(self, message: Explained) -> None:
        """A worker has explained requests."""
        self.left_out += message.left_out
        for record in message.records:
            self._count += 1
            ring = self._troubled if record.why in (FAILURE, RETRY) else self._others
            ring.add(_Kept(self._count, summary(record), encode(record)))

    def about(self, request_id: str) -> list[Explanation]:
        """Those of requests with this id, newest first."""
        newest = self._newest()
        found = [self._decoder.decode(one.data) for one in newest if one.summary.request_id == request_id]
        if not found and (record := self._failure(request_id)) is not None:
            found = [explained_failure(record)]
        return found

    def recent(self) -> list[Summary]:
        """All that are kept, newest first."""
        return [one.summary for one in self._newest()]

    def _newest(self) -> Iterable[_Kept]:
        return sorted(chain(self._troubled.kept, self._others.kept), key=lambda one: -one.number)

    def watched(self) -> Watched:
        """What is explained now."""
        left = max(0.0, (self._watch.until_ns - self._clock.monotonic_ns()) / 1e9)
        return Watched(self._words if left else "", round(left, 1), self._sample, self._by_header)

    def wish(self, wish: Wish) -> None:
        """Explain these from now on, instead of those before."""
        until = self._clock.monotonic_ns() + round(wish.seconds * 1e9) if wish.seconds else 0
        self._watch = Watch(
            until_ns=until,
            path=wish.path,
            host=wish.host,
            method=wish.method,
            client=wish.client,
            route=wish.route,
        )
        self._words = str(wish)
        self._broadcast(self._watch)

    def update(self) -> Watch | None:
        """For a worker that starts."""
        return self._watch if self._watch.until_ns > self._clock.monotonic_ns() else None


def summary(record: Explanation) -> Summary:
    """As it is in a list."""
    return Summary(
        request_id=record.request_id,
        began=record.began,
        why=record.why,
        client=record.client,
        method=record.method,
        target=record.target,
        host=record.host,
        route=record.route.name,
        pool=record.pool,
        upstream=record.upstream,
        status=record.status,
        reason=None if record.cut is None else record.cut.reason,
        attempts=len(record.attempts),
        duration=record.duration,
    )
