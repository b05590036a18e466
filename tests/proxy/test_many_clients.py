"""What all clients of a pool that hangs cost in one turn of the loop is bounded: others have their turns."""

from itertools import pairwise

from balancer.clients.inspection import AT_ONCE
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness, status_of

LIMIT = 3.0  # seconds to the first byte


def waiting_after_each_turn(make_harness: MakeHarness, count: int) -> list[int]:
    """How many of `count` requests, which time out together, still wait after each turn from the sweep on."""
    harness: Harness = make_harness(timeouts={"first_byte": LIMIT}, limits={"max_connections": count})
    clients = [harness.ask() for _ in range(count)]
    waiting = []

    def look() -> None:
        waiting.append(harness.inflight[0])
        if waiting[-1]:
            harness.loop.call_soon(look)

    harness.clock.advance(LIMIT + 0.5)
    harness.proxy.sweep()
    look()
    harness.settle()
    assert {status_of(client.take()) for client in clients} == {504}
    return waiting


def test_few_of_those_that_time_out_together_are_answered_in_one_turn(make_harness: MakeHarness) -> None:
    waiting = waiting_after_each_turn(make_harness, 300)
    ended = [before - after for before, after in pairwise(waiting)]
    assert max(ended) == 64
    assert sum(ended) == 300


def test_only_a_part_of_many_is_looked_at_in_one_turn(make_harness: MakeHarness) -> None:
    few, many = (waiting_after_each_turn(make_harness, count) for count in (1, 2 * AT_ONCE + 1))
    turns = [next(turn for turn, count in enumerate(one) if count < one[0]) for one in (few, many)]
    assert turns[1] - turns[0] == 2


def test_a_client_that_leaves_during_the_look_is_no_harm(make_harness: MakeHarness) -> None:
    harness: Harness = make_harness(timeouts={"first_byte": LIMIT}, limits={"max_connections": 1000})
    clients = [harness.ask() for _ in range(2 * AT_ONCE)]
    harness.clock.advance(LIMIT + 0.5)
    harness.proxy.sweep()
    for client in clients[::2]:
        client.lose()
    harness.settle()
    assert {status_of(client.take()) for client in clients[1::2]} == {504}
    assert harness.inflight == [0]


def test_a_sweep_during_the_look_does_not_start_another(make_harness: MakeHarness) -> None:
    harness: Harness = make_harness(timeouts={"first_byte": LIMIT}, limits={"max_connections": 1000})
    clients = [harness.ask() for _ in range(2 * AT_ONCE)]
    harness.clock.advance(LIMIT + 0.5)
    for _ in range(3):
        harness.proxy.sweep()
    harness.settle()
    assert {status_of(client.take()) for client in clients} == {504}
