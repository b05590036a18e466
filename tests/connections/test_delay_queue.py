"""DelayQueue: many delays of one length, one timer."""

import pytest

from balancer.connections.delay_queue import DelayQueue
from tests.fakes.loop import FakeClock, FakeLoop


class Bench:
    def __init__(self, delay: float = 0.25) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.due: list[str] = []
        self.queue: DelayQueue[str] = DelayQueue(self.loop, self.clock, delay, self.due.append)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()


def test_each_item_is_due_one_delay_later_in_order() -> None:
    bench = Bench()
    for item in "abc":
        bench.queue.push(item)
        bench.advance(0.1)
    assert bench.due == ["a"]
    bench.advance(0.05)
    assert bench.due == ["a", "b"]
    bench.advance(0.1)
    assert bench.due == ["a", "b", "c"]


def test_never_early_and_at_most_a_millisecond_late() -> None:
    bench = Bench()
    bench.queue.push("a")
    bench.advance(0.249)
    bench.queue.push("b")
    assert bench.due == []
    bench.advance(0.002)
    assert bench.due == ["a"]
    bench.advance(0.247)
    assert bench.due == ["a"]
    bench.advance(0.003)
    assert bench.due == ["a", "b"]


def test_all_items_share_one_timer() -> None:
    bench = Bench()
    for number in range(1000):
        bench.queue.push(str(number))
    assert bench.loop.armed_timers == 1
    bench.advance(0.25)
    assert len(bench.due) == 1000
    assert bench.loop.armed_timers == 0


def test_the_timer_is_armed_again_after_the_queue_was_empty() -> None:
    bench = Bench()
    for item in "ab":
        bench.queue.push(item)
        bench.advance(0.26)
    assert bench.due == ["a", "b"]


def test_a_due_item_may_push_another() -> None:
    bench = Bench()
    queue: DelayQueue[int]
    seen: list[int] = []

    def again(item: int) -> None:
        seen.append(item)
        if item < 3:
            queue.push(item + 1)

    queue = DelayQueue(bench.loop, bench.clock, 0.25, again)
    queue.push(1)
    for _ in range(3):
        bench.advance(0.25)
    assert seen == [1, 2, 3]
    assert bench.loop.armed_timers == 0


def test_close_drops_all_items() -> None:
    bench = Bench()
    bench.queue.push("a")
    bench.queue.close()
    assert bench.loop.armed_timers == 0
    bench.advance(1)
    assert bench.due == []


def test_one_failing_item_does_not_stop_the_others() -> None:
    bench = Bench()

    def due(item: str) -> None:
        if item == "bad":
            raise ZeroDivisionError
        bench.due.append(item)

    queue: DelayQueue[str] = DelayQueue(bench.loop, bench.clock, 0.25, due)
    for item in ("a", "bad", "b"):
        queue.push(item)
    with pytest.raises(ZeroDivisionError):
        bench.advance(0.25)
    bench.advance(0.25)
    assert bench.due == ["a", "b"]
    queue.push("c")
    bench.advance(0.25)
    assert bench.due == ["a", "b", "c"]
