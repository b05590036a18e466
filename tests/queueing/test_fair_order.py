"""FairOrder: in which order clients are served."""

from random import Random

import pytest

from balancer.queueing.fair_order import FairOrder


def joined(*waiters: str) -> FairOrder[str]:
    """An order with these requests; the first letter names the client."""
    order: FairOrder[str] = FairOrder()
    for waiter in waiters:
        order.join(waiter, waiter[0])
    return order


def serve(order: FairOrder[str], newest_first: bool) -> str:
    waiter = next(order.in_order(1, newest_first))
    order.leave(waiter, True)
    return waiter


def served(order: FairOrder[str], newest_first: bool, count: int) -> list[str]:
    return [serve(order, newest_first) for _ in range(count)]


HOG = ["a1", "a2", "a3", "a4", "b1", "c1", "c2"]


@pytest.mark.parametrize(
    ("waiters", "newest_first", "expected"),
    [
        pytest.param(["a1", "a2", "a3"], False, ["a1", "a2", "a3"], id="one client, oldest first"),
        pytest.param(["a1", "a2", "a3"], True, ["a3", "a2", "a1"], id="one client, newest first"),
        pytest.param(["a1", "b1", "c1"], False, ["a1", "b1", "c1"], id="one request each, oldest first"),
        pytest.param(["a1", "b1", "c1"], True, ["c1", "b1", "a1"], id="one request each, newest first"),
        pytest.param(HOG, False, ["a1", "b1", "c1", "a2", "c2", "a3", "a4"], id="turns, oldest first"),
        pytest.param(HOG, True, ["c2", "b1", "a4", "c1", "a3", "a2", "a1"], id="turns, newest first"),
    ],
)
def test_each_client_is_served_in_turn(waiters: list[str], newest_first: bool, expected: list[str]) -> None:
    assert served(joined(*waiters), newest_first, len(waiters)) == expected
    assert list(joined(*waiters).in_order(99, newest_first)) == expected
    assert list(joined(*waiters).in_order(2, newest_first)) == expected[:2]


def test_a_client_that_asks_again_at_once_is_served_in_the_next_round() -> None:
    order = joined("a1", "b1", "c1")
    assert serve(order, True) == "c1"
    order.join("c2", "c")
    assert served(order, True, 3) == ["b1", "a1", "c2"]


def test_many_new_clients_do_not_postpone_a_turn_for_ever() -> None:
    order = joined("a1", "a2", "b1")
    assert served(order, False, 2) == ["a1", "b1"]
    for number in range(10):
        order.join(chr(ord("c") + number), chr(ord("c") + number))
    assert "a2" in served(order, False, 2)


def test_newest_first_a_second_request_moves_its_client_to_the_front() -> None:
    order = joined("a1", "b1", "c1")
    order.join("a2", "a")
    assert served(order, True, 4) == ["a2", "c1", "b1", "a1"]


def test_a_request_that_leaves_costs_its_client_no_turn() -> None:
    order = joined("a1", "a2", "b1")
    order.leave("a1", False)
    assert served(order, False, 2) == ["a2", "b1"]


def test_a_request_that_is_passed_over_keeps_its_turn() -> None:
    order = joined("a1", "b1", "a2", "b2")
    turns = order.in_order(4, False)
    assert [next(turns), next(turns)] == ["a1", "b1"]
    order.leave("b1", True)
    assert served(order, False, 3) == ["a1", "b2", "a2"]


@pytest.mark.parametrize(("newest_first", "last"), [(False, "a3"), (True, "a1")])
def test_last_of_longest_is_the_request_served_last_of_the_longest_queue(
    newest_first: bool, last: str
) -> None:
    order = joined("b1", "a1", "a2", "b2", "a3", "c1")
    assert order.longest == 3
    assert order.last_of_longest(newest_first) == last


@pytest.mark.parametrize("seed", range(20))
def test_turns_are_even_and_the_longest_queue_is_known_in_any_order_of_events(seed: int) -> None:
    random = Random(seed)
    order: FairOrder[int] = FairOrder()
    waiting: dict[int, str] = {}
    turns = dict.fromkeys("abcd", 0)
    number = 0
    for _ in range(3000):
        act = random.random()
        if act < 0.55 or not waiting:
            number += 1
            # Some of `a` always wait; the others come and go.
            waiting[number] = client = random.choice("aaaaaabcd")
            order.join(number, client)
        elif act < 0.6:
            left = random.choice(list(waiting))
            order.leave(left, False)
            del waiting[left]
        else:
            newest_first = random.random() < 0.5
            asked = list(order.in_order(len(waiting), newest_first))
            assert sorted(asked) == sorted(waiting)
            turn = asked[0] if random.random() < 0.8 else random.choice(asked[:3])
            order.leave(turn, True)
            turns[waiting.pop(turn)] += 1
        counts = [sum(client == one for client in waiting.values()) for one in "abcd"]
        assert order.longest == max(counts)
        assert [order.waiting_of(one) for one in "abcd"] == counts
        assert (number in order) is (number in waiting)
    came = number / 9  # from each client but the first
    assert all(turns[one] >= 0.7 * came for one in "bcd")
    for one in list(waiting):
        order.leave(one, False)
    assert list(order.in_order(9, True)) == []
