"""The queue for requests while all their upstreams are full: bounded, and each request has a deadline.

It stands between an exchange that found no slot and the next free slot in its pool. The end of an attempt
does not serve the queue directly: it belongs to another exchange, which has to finish first.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import chain
from math import ceil
from typing import Final, Protocol

from balancer.clock import Clock
from balancer.edges import STANDARD, Edges
from balancer.errors import QUEUE_FULL, QUEUE_TIMEOUT, QUEUE_WOULD_TIME_OUT, Failure
from balancer.http.responses import LONGEST_RETRY_AFTER
from balancer.lateness import look_first
from balancer.queueing.fair_order import FairOrder
from balancer.queueing.patience import Patience
from balancer.queueing.throughput import Throughput
from balancer.telemetry.columns import (
    POOL_QUEUE_LENGTH,
    POOL_QUEUE_REJECTED,
    POOL_QUEUE_WAIT,
    POOL_QUEUE_WAIT_SUM,
    QUEUE_REJECTIONS,
)

# How many requests are offered a slot in one turn of the loop, unless all are, and how many time out in one.
# It bounds the cost of a turn, and how many requests are skipped that cannot use the free slot, as they have
# already tried that upstream.
_AT_ONCE: Final = 32
# Deadline and room are derived again after this long without news.
_STALE_NS: Final = 1_000_000_000
# The deadline as a fraction of the age at which clients give up, but at least _SHORTEST_NS: a few impatient
# clients must not end all waiting. Those that give up sooner make room anyway.
_NUMERATOR: Final = 2
_DENOMINATOR: Final = 5
_SHORTEST_NS: Final = 500_000_000
# A wait is always bearable up to deadline / _PART, at most _BEARABLE_NS.
_PART: Final = 10
_BEARABLE_NS: Final = 500_000_000
_GOLDEN: Final = 0.618034  # the fractional parts of its multiples are evenly distributed

_FULL: Final = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("full")
_TIMEOUT: Final = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("timeout")
_WOULD_TIME_OUT: Final = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("would_time_out")


class Waiter(Protocol):
    """A waiting request. Its methods do not raise."""

    def network(self) -> str:
        """The client, as returned by `client_network`."""

    def offered(self, now_ns: int) -> bool:
        """There may be a slot: take it and `leave` the queue, or return False to keep waiting."""

    def gave_up(self, failure: Failure) -> None:
        """It has been removed from the queue without a slot."""


class SlotQueue:
    """The waiting requests of one pool and worker, `waiting` in order of arrival.

    **The deadline** is the timeout from the settings, or two fifths of the age at which clients have been
    giving up (`Patience`) if shorter: the rest is for the app, and for less patient clients.

    **The order**: oldest first, so that all wait about equally long. Under overload all would then wait until
    just before or just after the deadline. So the newest goes first if (a) the oldest has waited for more
    than a tenth of the deadline, or many clients leave, and (b) more requests arrive than are served, or the
    queue has not been empty for longer than the timeout, or a request has timed out in it. Some are then
    served at once, and the oldest time out. Once no more requests arrive than are served, and clients are not
    known to leave, both ends are served alternately, until the queue is short.

    **Clients take turns** (`FairOrder`): this order applies to their turns, and within each client's queue.
    With one client, or if none waits twice, it is the order of all requests.

    **Refused at once**: a request that finds so many waiting that some cannot be served before their
    deadlines. But if another client has more waiting, the last in turn of that client is refused instead.
    """

    __slots__ = ("_armed", "_busy_since_ns", "_cells", "_clock", "_considered_ns", "_deadline_ns",
                 "_edges", "_everybody", "_fair", "_gives_way", "_in_vain", "_loop", "_newest_first",
                 "_old_in_turn", "_room", "_size", "_spread", "_throughput", "_timeout_ns",
                 "_woken", "has_slot", "patience", "waiting")  # fmt: skip

    def __init__(
        self,
        size: int,
        timeout: float,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        cells: memoryview[int],
        edges: Edges = STANDARD,
    ) -> None:
        """At most `size` requests wait, each for at most `timeout` seconds. `cells` is the pool's row, whose
        histogram is over `edges`."""
        self.waiting: OrderedDict[Waiter, int] = OrderedDict()  # since when, in ns
        self._fair: FairOrder[Waiter] = FairOrder()  # the same, except `_gives_way`
        self._gives_way: dict[Waiter, None] = {}  # refused in the loop's next turn: they may rejoin then
        self.has_slot: Callable[[], bool] = _always  # set by the pool
        self.patience = Patience(edges)
        self._edges = edges
        self._size = size
        self._timeout_ns = round(timeout * 1e9)
        self._loop = loop
        self._clock = clock
        self._cells = cells
        self._throughput = Throughput()
        self._deadline_ns = self._timeout_ns  # longest wait
        self._room = size  # most requests that may wait; more are refused
        self._considered_ns = 0  # when these two were last derived
        self._busy_since_ns = 0  # when it was last empty
        self._newest_first = False
        self._old_in_turn = False  # whether the old end was first, if both ends are served
        self._in_vain = False  # a request has timed out since the queue was last empty
        self._spread = 0.0
        self._everybody = False  # offer to all in the next turn, even without a slot
        self._armed: asyncio.TimerHandle | None = None  # for the oldest one's deadline, or an earlier time
        self._woken: asyncio.Handle | None = None

    def join(self, waiter: Waiter) -> Failure | None:
        """Wait for a slot. Returns a failure if there is no room."""
        waiting = self.waiting
        throughput = self._throughput
        throughput.came += 1
        client = waiter.network()
        if len(waiting) - len(self._gives_way) >= self._room and not self._find_room(client):
            return self._refuse()
        now = self._clock.monotonic_ns()
        if not waiting:
            self._busy_since_ns = now
            throughput.begins(now)
            if now - self._considered_ns > _STALE_NS:
                self.consider(now)
        waiting[waiter] = now
        self._fair.join(waiter, client)
        self._cells[POOL_QUEUE_LENGTH] = len(waiting)
        if self._armed is None:
            self._arm(self._deadline_ns)
        if self.has_slot():  # the others waiting cannot use it, but this one may
            self.wake()
        return None

    def _find_room(self, client: str) -> bool:
        """Make room by removing a request from the longest client queue, unless the client's own would become
        as long."""
        fair = self._fair
        if fair.longest < 2 or fair.longest < fair.waiting_of(client) + 2:
            return False
        last = fair.last_of_longest(self._newest_first)
        fair.leave(last, False)
        self._gives_way[last] = None
        self.wake()
        return True

    def _give_way(self, now_ns: int) -> None:
        for waiter in list(self._gives_way):
            if waiter in self._gives_way:  # otherwise its client has left meanwhile
                waited = now_ns - self.waiting[waiter]
                failure = self._refuse()
                self.leave(waiter)
                self.patience.stayed(waited)
                waiter.gave_up(failure)

    def _refuse(self) -> Failure:
        self._throughput.refused += 1
        if len(self.waiting) >= self._size:
            self._cells[_FULL] += 1
            return QUEUE_FULL
        self._cells[_WOULD_TIME_OUT] += 1
        return QUEUE_WOULD_TIME_OUT

    def leave(self, waiter: Waiter, served_ns: int = -1) -> None:
        """Remove `waiter`: it got a slot at `served_ns`, or, if -1, its client has left."""
        waiting = self.waiting
        since = waiting.pop(waiter)
        if waiter in self._gives_way:
            del self._gives_way[waiter]
        else:
            self._fair.leave(waiter, served_ns >= 0)
        cells = self._cells
        cells[POOL_QUEUE_LENGTH] = len(waiting)
        if served_ns >= 0:
            waited = served_ns - since
            cells[POOL_QUEUE_WAIT + self._edges.cell(waited)] += 1
            cells[POOL_QUEUE_WAIT_SUM] += waited
            self._throughput.served += 1
            self.patience.stayed(waited)
        if not waiting:
            self._throughput.ends(self._clock.monotonic_ns())
            self._newest_first = self._in_vain = False

    def client_left(self, waited_ns: int, now_ns: int) -> bool:
        """A client has left after `waited_ns`, here or elsewhere. Returns whether to call `patience.learn`
        now, and then `consider`."""
        self._throughput.left += 1
        return self.patience.left(waited_ns, now_ns)

    def wake(self, *, everybody: bool = False) -> None:
        """There may be a slot: offer it in the loop's next turn. `everybody`: to all, even if there is none,
        as some may have nothing left to wait for."""
        self._everybody |= everybody
        if self._woken is None:
            self._woken = self._loop.call_soon(self._serve)

    def consider(self, now_ns: int) -> None:
        """Derive the deadline and the room from what has been learned so far."""
        self._considered_ns = now_ns
        before = self._deadline_ns
        deadline = self._timeout_ns
        give_up_ns = self.patience.give_up_ns(now_ns)
        if give_up_ns:
            deadline = min(deadline, max(give_up_ns * _NUMERATOR // _DENOMINATOR, _SHORTEST_NS))
        self._deadline_ns = deadline
        rate = self._throughput.per_second
        self._room = min(self._size, max(1, ceil(rate * deadline / 1e9))) if rate else self._size
        if deadline < before:
            self._arm_anew(now_ns)

    def has_waiting(self) -> bool:
        """Whether any request waits."""
        return bool(self.waiting)

    def retry_after(self) -> int:
        """Seconds after which a refused client may retry: when all waiting requests, and those refused in a
        second, could have been served. It varies, so that they do not all return at once."""
        throughput = self._throughput
        if not throughput.per_second:
            return 1
        self._spread = (self._spread + _GOLDEN) % 1.0
        seconds = (len(self.waiting) + throughput.refused_per_second) / throughput.per_second
        return min(max(ceil(seconds * (0.75 + self._spread / 2)), 1), LONGEST_RETRY_AFTER)

    def close(self) -> None:
        """Cancel the timers."""
        for handle in (self._armed, self._woken):
            if handle is not None:
                handle.cancel()
        self._armed = self._woken = None

    def _serve(self) -> None:
        self._woken = None
        waiting = self.waiting
        if self._gives_way:
            self._give_way(self._clock.monotonic_ns())
        everybody, self._everybody = self._everybody, False
        has_slot = self.has_slot()
        if not waiting or not (has_slot or everybody):
            return
        now = self._clock.monotonic_ns()
        if has_slot:
            if self._throughput.has_news(now):
                self.consider(now)
            self._choose_order(now)
        most = len(waiting) if everybody else _AT_ONCE
        served = False
        for waiter in self._in_order(most):
            if not everybody and not self.has_slot():
                return
            if waiter in self._fair:  # serving another one may have removed it
                served |= waiter.offered(now)
        if served and waiting and self.has_slot():
            self.wake()

    def _in_order(self, most: int) -> Iterable[Waiter]:
        """The waiters to offer a slot, in order; at most `most` from each end that is served."""
        newest = self._fair.in_order(most, self._newest_first)
        if not self._newest_first or not self._throughput.is_steady or self._deadline_ns < self._timeout_ns:
            return newest
        # One from the old end for each from the new end, starting with either alternately.
        self._old_in_turn = not self._old_in_turn
        oldest = self._fair.in_order(most, False)
        pairs = zip(oldest, newest, strict=False) if self._old_in_turn else zip(newest, oldest, strict=False)
        return chain.from_iterable(pairs)

    def _choose_order(self, now_ns: int) -> None:
        throughput = self._throughput
        bearable = min(self._deadline_ns // _PART, _BEARABLE_NS)
        if not self._newest_first:
            oldest = next(iter(self.waiting.values()))
            lasts = now_ns - self._busy_since_ns > self._timeout_ns and not throughput.is_steady
            overloaded = throughput.is_growing or self._in_vain or lasts
            unbearable = now_ns - oldest > bearable or throughput.is_losing
            self._newest_first = overloaded and unbearable
        elif not throughput.is_growing and len(self.waiting) <= throughput.per_second * bearable / 1e9:
            self._newest_first = self._in_vain = False

    def _arm(self, delay_ns: int) -> None:
        self._armed = self._loop.call_later(max(delay_ns / 1e9, 0.001), self._expire)

    def _arm_anew(self, now_ns: int) -> None:
        """Set the timer to the oldest waiter's deadline, if there is one."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        if self.waiting:
            self._arm(next(iter(self.waiting.values())) + self._deadline_ns - now_ns)

    def _expire(self) -> None:
        look_first(self._loop, self._expired)  # responses that have arrived meanwhile have freed a slot

    def _expired(self) -> None:
        if self._armed is None:
            return  # closed, or the queue is empty
        # `_armed` is kept until the end: a request that times out may rejoin at once, and must not set its
        # own timer while older ones still wait.
        now = self._clock.monotonic_ns()
        waiting = self.waiting
        for _ in range(_AT_ONCE):
            if not waiting:
                break
            oldest = next(iter(waiting))
            waited = now - waiting[oldest]
            if waited < self._deadline_ns:
                break
            self.leave(oldest)
            self._in_vain = True
            self._throughput.refused += 1
            self.patience.stayed(waited)
            self._cells[_TIMEOUT] += 1
            oldest.gave_up(QUEUE_TIMEOUT)
        self._arm_anew(now)


def _always() -> bool:
    return True
