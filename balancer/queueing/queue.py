"""Where requests wait while every upstream that they may go to is full: bounded, and each with a deadline.

Between an exchange that found no slot and the next slot that comes free in its pool. The end of an attempt
wakes nobody by itself: that end belongs to another exchange, which has to be finished first.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import chain
from math import ceil
from typing import Protocol

from balancer.clock import Clock
from balancer.errors import QUEUE_FULL, QUEUE_TIMEOUT, QUEUE_WOULD_TIME_OUT, Failure
from balancer.http.responses import LONGEST_RETRY_AFTER
from balancer.lateness import look_first
from balancer.queueing.fair_order import FairOrder
from balancer.queueing.patience import Patience
from balancer.queueing.throughput import Throughput
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    POOL_QUEUE_LENGTH,
    POOL_QUEUE_REJECTED,
    POOL_QUEUE_WAIT,
    POOL_QUEUE_WAIT_SUM,
    QUEUE_REJECTIONS,
)

# How many are asked in one turn of the loop, unless everybody is, and how many give up in one. It bounds what
# a turn costs, and how many are passed over who cannot use the slot that is free, as they have tried that
# upstream already.
_AT_ONCE = 32
# What was learned of the clients is looked at again after so long without news.
_STALE_NS = 1_000_000_000
# The deadline by the age at which clients give up, but not less than this: a few shall not end all waiting.
# Who gives up sooner makes room by that.
_NUMERATOR, _DENOMINATOR = 2, 5
_SHORTEST_NS = 500_000_000
# For so long a wait is bearable in any case: a part of the deadline, at most this.
_PART = 10
_BEARABLE_NS = 500_000_000
_GOLDEN = 0.618034  # its multiples are spread evenly over the fractions

_FULL, _TIMEOUT, _WOULD_TIME_OUT = (
    POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index(reason) for reason in ("full", "timeout", "would_time_out")
)


class Waiter(Protocol):
    """One that waits. Its methods do not raise."""

    def network(self) -> str:
        """Whose request it is, as `client_network` has it."""

    def offered(self, now_ns: int) -> bool:
        """There may be a slot: take it and `leave` the queue, or say False to go on waiting."""

    def gave_up(self, failure: Failure) -> None:
        """It has left the queue without a slot."""


class SlotQueue:
    """The requests of one pool and worker that wait, `waiting` in the order in which they came.

    **The deadline** is the timeout of the settings, or two fifths of the age at which clients have been
    giving up (`Patience`) where that is shorter: the rest is for the app, and for the less patient.

    **The order**: the oldest first, so that everybody waits about the same. Under overload everybody would
    then wait until just before or just after the deadline. So when the oldest has waited for more than a
    tenth of it, or many leave, and besides more comes than goes, or the queue has not been empty for longer
    than the timeout, or a wait has been in vain, the newest goes first: some are served at once, and the
    oldest give up. Once no more comes than goes, and nobody is known to leave, both ends are served in turn,
    until little waits.

    **Clients take turns** (`FairOrder`): that order is the one among their turns, and within each. Where only
    one waits, or none twice, it is the order of all.

    **Refused at once** is who finds so many waiting that some cannot be served before their deadlines. But
    where another client has more waiting the newcomer has that one's place, whose last in turn gives up.
    """

    __slots__ = ("_armed", "_busy_since_ns", "_cells", "_clock", "_considered_ns", "_deadline_ns",
                 "_everybody", "_fair", "_gives_way", "_in_vain", "_loop", "_newest_first",
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
    ) -> None:
        """At most `size` wait, each for at most `timeout` seconds. `cells` is the pool's row."""
        self.waiting: OrderedDict[Waiter, int] = OrderedDict()  # since when, in ns
        self._fair: FairOrder[Waiter] = FairOrder()  # the same, but for those that give way
        self._gives_way: dict[Waiter, None] = {}  # to be told so in the next turn: they may join anew then
        self.has_slot: Callable[[], bool] = _always  # set by the pool
        self.patience = Patience()
        self._size = size
        self._timeout_ns = round(timeout * 1e9)
        self._loop = loop
        self._clock = clock
        self._cells = cells
        self._throughput = Throughput()
        self._deadline_ns = self._timeout_ns  # for how long one waits
        self._room = size  # for how many: who comes then is refused
        self._considered_ns = 0  # when these two were last derived
        self._busy_since_ns = 0  # when it was last empty
        self._newest_first = False
        self._old_in_turn = False  # when both ends are served
        self._in_vain = False  # a wait has been, since the queue was last empty
        self._spread = 0.0
        self._everybody = False  # shall be asked in the next turn, not only those whom a slot may be for
        self._armed: asyncio.TimerHandle | None = None  # for the oldest one's deadline, or an earlier time
        self._woken: asyncio.Handle | None = None

    def join(self, waiter: Waiter) -> Failure | None:
        """Wait for a slot; a failure where there is no room to."""
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
        if self.has_slot():  # those who wait already cannot use it: this one may
            self.wake()
        return None

    def _find_room(self, client: str) -> bool:
        """In the longest client's queue, unless the client's own would become as long as that one."""
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
            if waiter in self._gives_way:  # else its client has left meanwhile
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
        """It does not wait any more: it has a slot since `served_ns`, or its client has left."""
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
            cells[POOL_QUEUE_WAIT + bisect_left(BUCKET_BOUNDS_NS, waited)] += 1
            cells[POOL_QUEUE_WAIT_SUM] += waited
            self._throughput.served += 1
            self.patience.stayed(waited)
        if not waiting:
            self._throughput.ends(self._clock.monotonic_ns())
            self._newest_first = self._in_vain = False

    def client_left(self, waited_ns: int, now_ns: int) -> bool:
        """A client has left that waited for so long, here or elsewhere; whether to call `patience.learn`
        now, and then `consider`."""
        self._throughput.left += 1
        return self.patience.left(waited_ns, now_ns)

    def wake(self, *, everybody: bool = False) -> None:
        """There may be a slot: ask those who wait in the loop's next turn. `everybody`: also where there is
        none, as some may have nothing to wait for any more."""
        self._everybody |= everybody
        if self._woken is None:
            self._woken = self._loop.call_soon(self._serve)

    def consider(self, now_ns: int) -> None:
        """Derive the deadline and the room from what has been learned by now."""
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
        """Whether anybody waits."""
        return bool(self.waiting)

    def retry_after(self) -> int:
        """After how many seconds who is refused may come again: when those who wait, and as many as are
        refused in a second, can have been served. It varies, so that they do not come all at once."""
        throughput = self._throughput
        if not throughput.per_second:
            return 1
        self._spread = (self._spread + _GOLDEN) % 1.0
        seconds = (len(self.waiting) + throughput.refused_per_second) / throughput.per_second
        return min(max(ceil(seconds * (0.75 + self._spread / 2)), 1), LONGEST_RETRY_AFTER)

    def close(self) -> None:
        """Forget the timers."""
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
            if waiter in self._fair:  # serving another one may have ended it
                served |= waiter.offered(now)
        if served and waiting and self.has_slot():
            self.wake()

    def _in_order(self, most: int) -> Iterable[Waiter]:
        """Whom to ask, at most so many."""
        newest = self._fair.in_order(most, self._newest_first)
        if not self._newest_first or not self._throughput.is_steady or self._deadline_ns < self._timeout_ns:
            return newest
        # One from the old end for each from the new end, beginning with either in turn.
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
        """Whatever it was armed for: it shall fire at the oldest one's deadline, if there is one."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        if self.waiting:
            self._arm(next(iter(self.waiting.values())) + self._deadline_ns - now_ns)

    def _expire(self) -> None:
        look_first(self._loop, self._expired)  # what has been answered meanwhile has left a slot

    def _expired(self) -> None:
        if self._armed is None:
            return  # closed, or nobody waits any more
        # `_armed` is kept until the end: one that gives up may join anew at once, and shall not set a timer
        # of its own while older ones still wait.
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
