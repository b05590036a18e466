"""SlotQueue in any order of events: no request is lost, served twice or kept past its deadline."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import Failure
from balancer.queueing.queue import SlotQueue
from balancer.telemetry.columns import CELLS_PER_ROW, POOL_QUEUE_LENGTH, POOL_QUEUE_REJECTED, QUEUE_REJECTIONS
from tests.fakes.loop import FakeClock, FakeLoop

TIMEOUT_NS = 2_000_000_000
SIZE = 40
SLACK_NS = 60_000_000  # 32 give up in each turn, and the next turn is a millisecond later


class Client:
    """A request that ends exactly once: with a slot, with a refusal, or by leaving."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.name: str = play.chance.choice(play.names)
        self.came_ns = play.clock.monotonic_ns()
        self.ended = False

    def end(self) -> None:
        assert not self.ended
        self.ended = True

    def network(self) -> str:
        return self.name

    def offered(self, now_ns: int) -> bool:
        play = self.play
        assert now_ns == play.clock.monotonic_ns()
        if not play.slots or play.chance.random() < play.picky:
            return False
        play.slots -= 1
        play.queue.leave(self, now_ns)
        self.end()
        if play.chance.random() < 0.1:
            play.join()  # a pipelined request
        return True

    def gave_up(self, failure: Failure) -> None:
        self.end()
        self.play.late += 1
        if self.play.chance.random() < 0.1:
            self.play.join()


class Play:
    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        timeout = TIMEOUT_NS / 1e9
        self.queue = SlotQueue(SIZE, timeout, loop=self.loop, clock=self.clock, cells=self.cells)
        self.queue.has_slot = lambda: self.slots > 0
        self.slots = 0
        self.picky = self.chance.choice([0.0, 0.3])
        # One client; a few, one of which has most requests; or many.
        self.names = self.chance.choice([["a"], [*"aaaaaaaabc"], [str(number) for number in range(30)]])
        self.came = self.late = self.refused = 0

    def join(self) -> None:
        self.came += 1
        client = Client(self)
        if self.queue.join(client) is not None:
            self.refused += 1

    def leave(self) -> None:
        """A waiting client, more likely an old one, or one that waits at another worker."""
        now = self.clock.monotonic_ns()
        waiting = list(self.queue.waiting)
        waited = self.chance.choice([1_000, 30_000_000, 700_000_000])
        if waiting:
            client = waiting[min(int(self.chance.expovariate(0.3)), len(waiting) - 1)]
            assert isinstance(client, Client)
            waited = now - client.came_ns
            self.queue.leave(client)
            client.end()
        if self.queue.client_left(waited, now):
            ages = [now - since for since in self.queue.waiting.values()]
            self.queue.patience.learn(now, self.came, [], ages, self.chance.randrange(10))
            self.queue.consider(now)

    def free(self) -> None:
        self.slots = self.chance.randrange(1, 6)
        self.queue.wake(everybody=self.chance.random() < 0.1)

    def wait(self) -> None:
        for _ in range(self.chance.randrange(1, 40)):
            self.clock.advance(0.01)
            self.loop.settle()

    def check(self) -> None:
        queue = self.queue
        now = self.clock.monotonic_ns()
        assert self.cells[POOL_QUEUE_LENGTH] == len(queue.waiting) <= SIZE
        assert list(queue.waiting.values()) == sorted(queue.waiting.values())
        assert all(now - since <= TIMEOUT_NS + SLACK_NS for since in queue.waiting.values())
        assert not any(isinstance(one, Client) and one.ended for one in queue.waiting)
        rejected = self.cells[POOL_QUEUE_REJECTED : POOL_QUEUE_REJECTED + len(QUEUE_REJECTIONS)]
        assert sum(rejected) == self.late + self.refused
        assert self.loop.armed_timers <= 1
        assert not queue.waiting or self.loop.armed_timers == 1
        assert 1 <= queue.retry_after() <= 30


@given(st.integers(0, 1 << 30), st.lists(st.sampled_from("jjjjllfwJ"), min_size=5, max_size=120))
def test_slot_queue_invariants_hold_in_any_order_of_events(seed: int, acts: list[str]) -> None:
    play = Play(seed)
    for act in acts:
        if act == "j":
            play.join()
        elif act == "J":
            for _ in range(30):
                play.join()
        elif act == "l":
            play.leave()
        elif act == "f":
            play.free()
        else:
            play.wait()
        play.loop.settle()
        play.check()
    play.slots = 0
    while play.queue.waiting or play.loop.armed_timers:
        play.wait()
        play.check()
    play.queue.close()
    assert play.loop.armed_timers == 0
