"""Whose turn it is among the clients that wait in a queue: a line for each of them, served in rounds.

Asked by the queue, which knows who waits; a client that has sent more requests than another has a longer
line, not more turns.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Line(Generic[Waiter]):
    """What waits of one client, in the order in which it came. `joined` orders lines by their newest."""

    __slots__ = ("client", "joined", "waiting")

    def __init__(self, client: str) -> None:
        self.client = client
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        self.joined = 0


class FairOrder(Generic[Waiter]):
    """**A round**: whoever was served in it has its next turn in the next one. It is over when nobody waits
    who has not been served, or after as many services as there were lines at its first one: so whoever has
    had its turn waits for a bounded time, however many others come.

    Within a round the order is that of the queue: the line that has waited for longest, or the one that was
    joined last; the same within a line. With one client, or where no client waits twice, that is the order in
    which all came.

    `longest` is the line of who has most waiting. Everything here takes constant time but the end of a round,
    which takes time for each line after about as many services.
    """

    __slots__ = ("_by_first", "_by_last", "_by_length", "_length", "_line_of", "_lines", "_longest", "_next",
                 "_number", "_served")  # fmt: skip

    def __init__(self) -> None:
        self._lines: dict[str, Line[Waiter]] = {}  # with somebody in them
        self._line_of: dict[Waiter, Line[Waiter]] = {}
        # of this round, with somebody in them
        self._by_first: OrderedDict[Line[Waiter], None] = OrderedDict()
        self._by_last: OrderedDict[Line[Waiter], None] = OrderedDict()
        self._length = 0  # services after which it is over; 0 before its first
        self._number = 0  # joins so far
        # of the next
        self._next: dict[Line[Waiter], None] = {}
        self._served: set[str] = set()  # clients that have had their turn in this one, and nothing waiting
        # lines by how many wait in them
        self._by_length: dict[int, dict[Line[Waiter], None]] = {}
        self._longest = 0

    def join(self, waiter: Waiter, client: str) -> None:
        """It waits, as the newest."""
        self._number += 1
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = Line(client)
            if client in self._served:
                self._served.remove(client)
                self._next[line] = None
            else:
                self._by_first[line] = self._by_last[line] = None
        elif line in self._by_last:
            self._by_last.move_to_end(line)
        line.joined = self._number
        line.waiting[waiter] = None
        self._line_of[waiter] = line
        self._moved(line, 1)

    def leave(self, waiter: Waiter, served: bool) -> None:
        """It does not wait any more. `served`: its client has had its turn."""
        line = self._line_of.pop(waiter)
        del line.waiting[waiter]
        self._moved(line, -1)
        in_round = line in self._by_last
        if served and not self._length:
            self._length = max(len(self._by_last), 1)
        if in_round and (served or not line.waiting):
            del self._by_first[line], self._by_last[line]
        if not line.waiting:
            del self._lines[line.client]
            if not in_round:
                del self._next[line]
            if served or not in_round:
                self._served.add(line.client)
        elif in_round and served:
            self._next[line] = None
        if served:
            self._length -= 1
        if not self._by_last or (served and not self._length):
            self._begin_round()

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._line_of

    def waiting_of(self, client: str) -> int:
        """How many wait of this client."""
        line = self._lines.get(client)
        return 0 if line is None else len(line.waiting)

    @property
    def longest(self) -> int:
        """How many wait of the client that has most."""
        return self._longest

    def last_of_longest(self, newest_first: bool) -> Waiter:
        """Of these the one that would be served last."""
        line = next(iter(self._by_length[self._longest]))
        return next(iter(line.waiting) if newest_first else reversed(line.waiting))

    def in_order(self, most: int, newest_first: bool) -> Iterator[Waiter]:
        """Who is to be asked, at most so many; as it was when it began, but each may leave meanwhile."""
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
            lines = [*self._by_last, *self._next]
            lines.sort(key=attrgetter("joined"))
            self._by_last = OrderedDict.fromkeys(lines)
            self._next = {}
        self._length = 0

    def _moved(self, line: Line[Waiter], by: int) -> None:
        """`line` has one more or one less."""
        lengths = self._by_length
        now = len(line.waiting)
        before = lengths.get(now - by)
        if before is not None:
            before.pop(line, None)
            if not before:
                del lengths[now - by]
        if now:
            lengths.setdefault(now, {})[line] = None
        if now > self._longest or self._longest not in lengths:
            self._longest = now
