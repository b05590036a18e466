"""Fair order among waiting clients: one queue per client, served in rounds.

Used by `SlotQueue`. A client that sends more requests than others has a longer queue, not more turns.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class ClientQueue(Generic[Waiter]):
    """The requests of one client, in order of arrival. `joined` orders queues by their newest request."""

    __slots__ = ("client", "joined", "waiting")

    def __init__(self, client: str) -> None:
        self.client = client
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        self.joined = 0


class FairOrder(Generic[Waiter]):
    """**A round**: a client served in it has its next turn in the next round. It ends when all waiting
    clients have been served, or after as many services as there were clients at its first: so a client that
    has had its turn waits for a bounded time, however many others arrive.

    Within a round the client that has waited longest goes first, or the one with the newest request; the same
    within its own queue. With one client, or if no client waits twice, this is the order of arrival.

    `longest` is the length of the longest client queue. All operations take constant time, except the end of
    a round: it takes time for each client, after about as many services.
    """

    __slots__ = ("_by_first", "_by_last", "_by_length", "_length", "_longest", "_next", "_number",
                 "_queue_of", "_queues", "_served")  # fmt: skip

    def __init__(self) -> None:
        self._queues: dict[str, ClientQueue[Waiter]] = {}  # non-empty ones
        self._queue_of: dict[Waiter, ClientQueue[Waiter]] = {}
        # of this round, non-empty
        self._by_first: OrderedDict[ClientQueue[Waiter], None] = OrderedDict()
        self._by_last: OrderedDict[ClientQueue[Waiter], None] = OrderedDict()
        self._length = 0  # services until it ends; 0 before its first
        self._number = 0  # joins so far
        # of the next round
        self._next: dict[ClientQueue[Waiter], None] = {}
        self._served: set[str] = set()  # clients that had their turn in this round and have nothing waiting
        # queues by their length
        self._by_length: dict[int, dict[ClientQueue[Waiter], None]] = {}
        self._longest = 0

    def join(self, waiter: Waiter, client: str) -> None:
        """Add `waiter` as the newest."""
        self._number += 1
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = ClientQueue(client)
            if client in self._served:
                self._served.remove(client)
                self._next[queue] = None
            else:
                self._by_first[queue] = self._by_last[queue] = None
        elif queue in self._by_last:
            self._by_last.move_to_end(queue)
        queue.joined = self._number
        queue.waiting[waiter] = None
        self._queue_of[waiter] = queue
        self._moved(queue, 1)

    def leave(self, waiter: Waiter, served: bool) -> None:
        """Remove `waiter`. `served`: its client has had its turn."""
        queue = self._queue_of.pop(waiter)
        del queue.waiting[waiter]
        self._moved(queue, -1)
        in_round = queue in self._by_last
        if served and not self._length:
            self._length = max(len(self._by_last), 1)
        if in_round and (served or not queue.waiting):
            del self._by_first[queue], self._by_last[queue]
        if not queue.waiting:
            del self._queues[queue.client]
            if not in_round:
                del self._next[queue]
            if served or not in_round:
                self._served.add(queue.client)
        elif in_round and served:
            self._next[queue] = None
        if served:
            self._length -= 1
        if not self._by_last or (served and not self._length):
            self._begin_round()

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._queue_of

    def waiting_of(self, client: str) -> int:
        """The length of this client's queue."""
        queue = self._queues.get(client)
        return 0 if queue is None else len(queue.waiting)

    @property
    def longest(self) -> int:
        """The length of the longest client queue."""
        return self._longest

    def last_of_longest(self, newest_first: bool) -> Waiter:
        """The waiter that would be served last in the longest queue."""
        queue = next(iter(self._by_length[self._longest]))
        return next(iter(queue.waiting) if newest_first else reversed(queue.waiting))

    def in_order(self, most: int, newest_first: bool) -> Iterator[Waiter]:
        """At most `most` waiters in order of service, as of the start of the iteration; each may leave
        meanwhile."""
        turns = deque(islice(reversed(self._by_last) if newest_first else self._by_first, most))
        turns.extend(islice(self._next, most))
        asked: deque[Iterator[Waiter]] = deque()
        while most and turns:
            waiting = turns.popleft().waiting
            if waiting:
                ordered = iter(list(islice(reversed(waiting) if newest_first else waiting, most)))
                yield next(ordered)
                asked.append(ordered)
                most -= 1
        while most and asked:
            ordered = asked.popleft()
            waiter = next(ordered, None)
            if waiter is not None:
                yield waiter
                asked.append(ordered)
                most -= 1

    def _begin_round(self) -> None:
        self._served.clear()
        if self._next:
            self._by_first.update(self._next)
            queues = [*self._by_last, *self._next]
            queues.sort(key=attrgetter("joined"))
            self._by_last = OrderedDict.fromkeys(queues)
            self._next = {}
        self._length = 0

    def _moved(self, queue: ClientQueue[Waiter], by: int) -> None:
        """The length of `queue` has changed by `by`: 1 or -1."""
        lengths = self._by_length
        now = len(queue.waiting)
        before = lengths.get(now - by)
        if before is not None:
            before.pop(queue, None)
            if not before:
                del lengths[now - by]
        if now:
            lengths.setdefault(now, {})[queue] = None
        if now > self._longest or self._longest not in lengths:
            self._longest = now
