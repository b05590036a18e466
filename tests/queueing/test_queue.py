"""SlotQueue: the order in which waiting requests are served, and how long they wait at most."""

from collections.abc import Callable, Iterable

import pytest

from balancer.edges import STANDARD
from balancer.errors import QUEUE_FULL, QUEUE_TIMEOUT, QUEUE_WOULD_TIME_OUT, Failure
from balancer.queueing.queue import SlotQueue
from balancer.telemetry.columns import (
    CELLS_PER_ROW,
    HISTOGRAM_CELLS,
    POOL_QUEUE_LENGTH,
    POOL_QUEUE_REJECTED,
    POOL_QUEUE_WAIT,
    POOL_QUEUE_WAIT_SUM,
    QUEUE_REJECTIONS,
)
from tests.fakes.loop import FakeClock, FakeLoop

TIMEOUT = 5.0


class Person:
    """A waiter that takes a slot when it is offered one, unless it is `picky`."""

    def __init__(self, bench: "Bench", name: str, picky: bool = False) -> None:
        self.bench = bench
        self.name = name
        self.picky = picky
        self.client = ""
        self.gave_way: list[str] | None = None  # set if eviction is expected

    def network(self) -> str:
        return self.client

    def offered(self, now_ns: int) -> bool:
        self.bench.asked += 1
        if self.picky:
            return False
        self.bench.slots -= 1
        self.bench.queue.leave(self, now_ns)
        self.bench.served.append(self.name)
        self.bench.on_served(self.name)
        return True

    def gave_up(self, failure: Failure) -> None:
        if self.gave_way is None:
            assert failure is QUEUE_TIMEOUT
            self.bench.late.append(self.name)
        else:
            assert failure is QUEUE_FULL
            self.gave_way.append(self.name)
        self.bench.on_late(self.name)


class Bench:
    def __init__(self, size: int = 1000) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.queue = SlotQueue(size, TIMEOUT, loop=self.loop, clock=self.clock, cells=self.cells)
        self.queue.has_slot = lambda: self.slots > 0
        self.slots = 0
        self.asked = 0
        self.served: list[str] = []
        self.late: list[str] = []
        self.on_served: Callable[[str], None] = lambda name: None
        self.on_late: Callable[[str], None] = lambda name: None
        self.people: dict[str, Person] = {}

    def join(self, names: Iterable[str], *, picky: bool = False) -> None:
        for name in names:
            self.people[name] = Person(self, name, picky)
            assert self.queue.join(self.people[name]) is None

    def join_of(self, client: str, names: Iterable[str], gave_way: list[str] | None = None) -> None:
        """Requests of one client. The names of those that are evicted go to `gave_way`."""
        for name in names:
            self.people[name] = person = Person(self, name)
            person.client, person.gave_way = client, gave_way
            assert self.queue.join(person) is None

    def refused_of(self, client: str) -> Failure | None:
        person = Person(self, "refused")
        person.client = client
        return self.queue.join(person)

    def free(self, slots: int = 1) -> None:
        """This many slots become free."""
        self.slots += slots
        self.queue.wake()
        self.loop.settle()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()

    @property
    def length(self) -> int:
        assert self.cells[POOL_QUEUE_LENGTH] == len(self.queue.waiting)
        return len(self.queue.waiting)

    def rejected(self, reason: str) -> int:
        return self.cells[POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index(reason)]


def test_a_free_slot_goes_to_the_oldest() -> None:
    bench = Bench()
    bench.join("abc")
    bench.free()
    assert (bench.served, bench.length) == (["a"], 2)
    bench.free(5)
    assert (bench.served, bench.length) == (["a", "b", "c"], 0)
    assert bench.slots == 3


def test_no_waiter_is_asked_while_no_slot_is_free() -> None:
    bench = Bench()
    bench.join("ab")
    bench.free(0)
    assert (bench.asked, bench.length) == (0, 2)


def test_wake_everybody_asks_all_waiters() -> None:
    bench = Bench()
    for number in range(100):
        assert bench.queue.join(Person(bench, str(number), picky=True)) is None
    bench.queue.wake(everybody=True)
    bench.loop.settle()
    assert bench.asked == 100
    bench.free(0)
    assert bench.asked == 100


def test_no_waiter_is_served_within_the_call_that_frees_the_slot() -> None:
    bench = Bench()
    bench.join("a")
    bench.slots = 1
    bench.queue.wake()
    bench.queue.wake()
    assert bench.served == []
    bench.loop.settle()
    assert bench.served == ["a"]


def test_a_full_queue_refuses() -> None:
    bench = Bench(size=2)
    bench.join("ab")
    assert bench.queue.join(Person(bench, "c")) is QUEUE_FULL
    assert (bench.length, bench.rejected("full")) == (2, 1)
    bench.free()
    bench.join("c")
    assert bench.length == 2


def test_a_waiter_that_leaves_makes_room_and_is_not_served() -> None:
    bench = Bench(size=2)
    bench.join("ab")
    bench.queue.leave(bench.people["a"])
    bench.join("c")
    bench.free(2)
    assert bench.served == ["b", "c"]


def test_each_waiter_has_its_own_deadline() -> None:
    bench = Bench()
    for name in "abc":
        bench.join(name)
        bench.advance(1.0)
    bench.advance(TIMEOUT - 3.0 - 0.002)
    assert bench.late == []
    bench.advance(0.002)
    assert bench.late == ["a"]
    bench.advance(1.0)
    assert bench.late == ["a", "b"]
    bench.advance(1.0)
    assert (bench.late, bench.length, bench.rejected("timeout")) == (["a", "b", "c"], 0, 3)
    assert bench.served == []


def test_joining_again_while_giving_up_does_not_delay_the_deadline_of_others() -> None:
    bench = Bench()
    bench.on_late = lambda name: bench.join("c") if name == "a" else None  # a pipelined request
    bench.join("a")
    bench.advance(4.0)
    bench.join("b")
    bench.advance(1.0)
    assert (bench.late, bench.length) == (["a"], 2)
    bench.advance(4.0)
    assert bench.late == ["a", "b"]
    bench.advance(1.0)
    assert bench.late == ["a", "b", "c"]
    assert bench.loop.armed_timers == 0


def test_all_waiters_share_one_timer_and_an_empty_queue_has_none() -> None:
    bench = Bench()
    assert bench.loop.armed_timers == 0
    bench.join("abcdefgh")
    assert bench.loop.armed_timers == 1
    bench.free(8)
    bench.join("z")
    assert bench.loop.armed_timers == 1
    bench.free()
    bench.advance(2 * TIMEOUT)
    assert (bench.loop.armed_timers, bench.late) == (0, [])


def test_a_timer_left_by_others_does_not_shorten_a_wait() -> None:
    bench = Bench()
    bench.join("a")
    bench.advance(3.0)
    bench.free()
    bench.join("b")
    bench.advance(TIMEOUT - 0.01)
    assert bench.late == []
    bench.advance(0.02)
    assert bench.late == ["b"]


def test_newest_first_after_the_queue_was_not_empty_for_longer_than_the_timeout() -> None:
    bench = Bench()
    names = iter("abcdefghijklmnop")
    bench.join(next(names) + next(names))
    for _ in range(5):  # the queue is never empty: two or three always wait
        bench.advance(1.0)
        bench.join(next(names))
        bench.free()
    assert bench.served == ["a", "b", "c", "d", "e"]
    bench.advance(0.001)
    bench.join("yz")
    bench.free(2)
    assert bench.served[-2:] == ["z", "y"]


def test_oldest_first_again_after_the_queue_was_empty() -> None:
    bench = Bench()
    bench.join("a")
    for name in "bcdefg":
        bench.advance(1.0)
        bench.join(name)
        bench.free()
    bench.free(10)
    assert bench.length == 0
    bench.slots = 0
    bench.served.clear()
    bench.join("xyz")
    bench.free(2)
    assert bench.served == ["x", "y"]


def test_a_waiter_that_cannot_use_the_slot_is_passed_over_and_keeps_its_turn() -> None:
    bench = Bench()
    bench.join("a", picky=True)
    bench.join("bc")
    bench.free()
    assert bench.served == ["b"]
    bench.people["a"].picky = False
    bench.free()
    assert bench.served == ["b", "a"]


def test_a_slot_that_no_waiter_can_use_goes_to_the_next_to_join() -> None:
    bench = Bench()
    bench.join("ab", picky=True)
    bench.free()
    assert bench.served == []
    bench.join("c")
    assert bench.served == []
    bench.loop.settle()
    assert bench.served == ["c"]


def test_each_turn_asks_a_bounded_number_of_waiters() -> None:
    bench = Bench()
    for number in range(500):
        assert bench.queue.join(Person(bench, str(number), picky=True)) is None
    bench.free()
    assert bench.asked == 32


def test_all_are_served_although_each_turn_is_bounded() -> None:
    bench = Bench()
    for number in range(500):
        assert bench.queue.join(Person(bench, str(number))) is None
    bench.free(499)
    assert (len(bench.served), bench.length) == (499, 1)


def test_a_waiter_that_leaves_while_another_is_served_is_not_asked() -> None:
    bench = Bench()
    bench.join("abc")
    bench.on_served = lambda name: bench.queue.leave(bench.people["b"]) if name == "a" else None
    bench.free(3)
    assert bench.served == ["a", "c"]


def test_a_waiter_that_joins_while_another_is_served_has_its_turn() -> None:
    bench = Bench()
    bench.join("ab")
    bench.on_served = lambda name: bench.join("c") if name == "a" else None
    bench.free(3)
    assert bench.served == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.003, 2), (0.3, 8), (4.9, 11)], ids=lambda value: str(value)
)
def test_the_wait_of_served_requests_is_measured(seconds: float, bucket: int) -> None:
    bench = Bench()
    bench.join("ab")
    bench.advance(seconds)
    bench.free()
    bench.queue.leave(bench.people["b"])
    counts = [0] * STANDARD.width
    counts[bucket] = 1
    histogram = bench.cells[POOL_QUEUE_WAIT : POOL_QUEUE_WAIT + HISTOGRAM_CELLS].tolist()
    assert STANDARD.ascending(histogram) == counts
    assert bench.cells[POOL_QUEUE_WAIT_SUM] == round(seconds * 1e9)


def test_a_closed_queue_does_nothing() -> None:
    bench = Bench()
    bench.join("ab")
    bench.slots = 1
    bench.queue.wake()
    bench.queue.close()
    assert bench.loop.armed_timers == 0
    bench.advance(2 * TIMEOUT)
    assert (bench.served, bench.late) == ([], [])


# --- under overload


class Rush(Bench):
    """Requests arrive and slots become free at even rates, every 10 ms."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__(size)
        self.refused: list[Failure] = []
        self.number = 0

    def run(self, seconds: float, came: float, free: float, patience: float = 1e9) -> None:
        """Rates per second; clients leave after `patience` seconds."""
        for tick in range(1, round(seconds * 100) + 1):
            for _ in range(int(tick * came / 100) - int((tick - 1) * came / 100)):
                person = self.people[str(self.number)] = Person(self, str(self.number))
                self.number += 1
                refused = self.queue.join(person)
                if refused is not None:
                    self.refused.append(refused)
            self.leave_who_lost(patience)
            self.slots = 0
            self.free(int(tick * free / 100) - int((tick - 1) * free / 100))
            self.advance(0.01)

    def leave_who_lost(self, patience: float) -> None:
        now = self.clock.monotonic_ns()
        for waiter, since in list(self.queue.waiting.items()):
            if now - since > patience * 1e9:
                self.queue.leave(waiter)
                if self.queue.client_left(now - since, now):
                    ages = [now - one for one in self.queue.waiting.values()]
                    self.queue.patience.learn(now, self.number, [], ages, 0)
                    self.queue.consider(now)

    def takes_newest(self) -> bool:
        """Whether the next slot goes to the newest waiter."""
        newest, oldest = next(reversed(self.queue.waiting)), next(iter(self.queue.waiting))
        self.slots = 0
        self.free()
        assert (newest in self.queue.waiting) is not (oldest in self.queue.waiting)
        return oldest in self.queue.waiting


@pytest.mark.parametrize(
    ("seconds", "came", "free", "newest"),
    [
        pytest.param(0.3, 1200, 400, False, id="three times the capacity, briefly"),
        pytest.param(1.0, 1200, 400, True, id="three times the capacity"),
        pytest.param(2.5, 600, 400, True, id="1.5 times the capacity"),
        pytest.param(4.0, 410, 400, False, id="hardly more, with short waits"),
        pytest.param(3.0, 3, 1, False, id="too few to tell"),
        pytest.param(6.0, 3, 1, True, id="too few to tell, for longer than the timeout"),
    ],
)
def test_newest_first_while_arrivals_exceed_free_slots(
    seconds: float, came: float, free: float, newest: bool
) -> None:
    rush = Rush()
    rush.run(seconds, came, free)
    assert rush.takes_newest() is newest


def test_oldest_first_while_slots_match_arrivals_however_long_they_wait() -> None:
    """Many clients that each ask again when they have been served: none may starve."""
    rush = Rush()
    rush.run(0.2, 1500, 0)
    rush.run(20.0, 400, 400)
    assert not rush.takes_newest()
    assert (rush.late, rush.refused) == ([], [])


def test_a_burst_is_served_in_order() -> None:
    rush = Rush()
    rush.join([str(number) for number in range(300)])
    rush.run(0.7, 0, 400)
    assert rush.served == [str(number) for number in range(280)]


def test_after_an_overload_both_ends_are_served_in_turn_and_then_the_oldest() -> None:
    rush = Rush()
    rush.run(1.5, 1000, 400)
    assert rush.takes_newest()
    rush.run(0.8, 200, 400)
    assert {rush.takes_newest(), rush.takes_newest()} == {True, False}
    rush.run(4.0, 200, 400)
    assert rush.length == 0
    assert rush.late == []


def test_slots_that_become_free_late_go_to_the_newest_at_once() -> None:
    rush = Rush()
    rush.run(0.8, 800, 0)
    assert rush.takes_newest()


def test_the_deadline_is_well_below_the_age_at_which_clients_leave() -> None:
    rush = Rush()
    rush.run(4.0, 1200, 400, patience=2.0)
    rush.late.clear()
    rush.run(1.0, 1200, 400, patience=2.0)
    assert len(rush.late) > 100
    now = rush.clock.monotonic_ns()
    assert 0.6 < max(now - since for since in rush.queue.waiting.values()) / 1e9 <= 0.81


def test_impatient_clients_do_not_end_all_waiting() -> None:
    rush = Rush()
    rush.run(4.0, 1200, 400, patience=0.1)
    assert rush.late == []
    rush.run(1.0, 1200, 400)
    now = rush.clock.monotonic_ns()
    assert 0.4 < max(now - since for since in rush.queue.waiting.values()) / 1e9 <= 0.51


def test_the_full_timeout_holds_again_when_patience_was_forgotten() -> None:
    rush = Rush()
    rush.run(4.0, 1200, 400, patience=2.0)
    rush.run(3.0, 0, 1000)
    rush.advance(300.0)
    rush.slots = 0
    rush.late.clear()
    rush.join("a")
    rush.advance(TIMEOUT - 0.01)
    assert rush.late == []
    rush.advance(0.02)
    assert rush.late == ["a"]


def test_a_few_early_departures_shorten_no_deadline() -> None:
    rush = Rush()
    for _ in range(30):
        rush.run(0.1, 1200, 400)
        newest = next(reversed(rush.queue.waiting))
        rush.queue.leave(newest)
        rush.queue.client_left(30_000_000, rush.clock.monotonic_ns())
    now = rush.clock.monotonic_ns()
    rush.queue.patience.learn(now, rush.number, [], [], 0)
    rush.queue.consider(now)
    assert rush.rejected("would_time_out") == 0


def test_requests_that_could_not_be_served_in_time_are_refused_at_once() -> None:
    rush = Rush()
    rush.run(4.0, 1200, 400, patience=2.0)
    rush.refused.clear()
    rush.run(2.0, 1200, 400, patience=2.0)
    assert set(rush.refused) == {QUEUE_WOULD_TIME_OUT}
    assert rush.rejected("would_time_out") >= len(rush.refused) > 200
    assert 300 < rush.length < 340  # 400/s for 0.8 s


def test_one_request_may_always_wait() -> None:
    rush = Rush()
    rush.run(60.0, 2, 0.5, patience=1.0)
    assert rush.queue.join(Person(rush, "a")) is None or rush.length


def test_many_late_waiters_at_once_do_not_hold_up_the_loop() -> None:
    bench = Bench()
    for number in range(100):
        assert bench.queue.join(Person(bench, str(number))) is None
    bench.advance(TIMEOUT)
    assert len(bench.late) == 32
    for _ in range(3):
        bench.advance(0.001)
    assert (len(bench.late), bench.loop.armed_timers) == (100, 0)


@pytest.mark.parametrize(
    ("came", "free", "least", "most"),
    [(1200, 400, 2, 4), (4000, 400, 8, 15), (8, 2, 2, 30), (4000, 40, 30, 30)],
)
def test_retry_after_is_the_time_to_serve_the_waiting_requests(
    came: float, free: float, least: int, most: int
) -> None:
    rush = Rush()
    assert rush.queue.retry_after() == 1
    rush.run(20.0, came, free, patience=2.0)
    told = [rush.queue.retry_after() for _ in range(50)]
    assert least <= min(told) <= max(told) <= most
    assert len(set(told)) > 1 or least == most


# --- clients


def test_each_client_has_its_turn_whichever_has_most_waiting() -> None:
    bench = Bench()
    bench.join_of("a", ["a1", "a2", "a3", "a4"])
    bench.join_of("b", ["b1"])
    bench.join_of("c", ["c1", "c2"])
    bench.free(7)
    assert bench.served == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]


def test_a_full_queue_evicts_the_last_request_of_the_client_with_most() -> None:
    bench = Bench(size=4)
    gave_way: list[str] = []
    bench.join_of("a", ["a1", "a2", "a3", "a4"], gave_way)
    bench.join_of("b", ["b1", "b2"])
    assert bench.refused_of("b") is QUEUE_FULL  # with it `b` would have as many as `a`
    assert bench.refused_of("a") is QUEUE_FULL
    assert gave_way == []  # not within another waiter's call
    bench.loop.settle()
    assert (gave_way, bench.length, bench.rejected("full")) == (["a4", "a3"], 4, 4)
    bench.free(4)
    assert bench.served == ["a1", "b1", "a2", "b2"]


def test_a_request_that_leaves_before_it_is_evicted_is_not_told() -> None:
    bench = Bench(size=2)
    gave_way: list[str] = []
    bench.join_of("a", ["a1", "a2"], gave_way)
    bench.join_of("b", ["b1"])
    bench.queue.leave(bench.people["a2"])
    bench.loop.settle()
    assert (gave_way, bench.length, bench.rejected("full")) == ([], 2, 0)


def test_a_request_that_joins_again_while_being_evicted_is_refused() -> None:
    bench = Bench(size=2)
    gave_way: list[str] = []
    bench.join_of("a", ["a1", "a2"], gave_way)
    again: list[Failure | None] = []
    bench.on_late = lambda name: again.append(bench.refused_of("a"))
    bench.join_of("b", ["b1"])
    bench.loop.settle()
    assert (gave_way, again, bench.length) == (["a2"], [QUEUE_FULL], 2)
