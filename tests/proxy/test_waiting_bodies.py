"""What requests without a connection may hold of their bodies, and who gives way."""

import pytest

from balancer.proxy.waiting_bodies import MOST, WaitingBodies
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness, body_of, head_of, status_of

BIG = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = bytes(MOST // 2 - 1000)
LITTLE = bytes(10_000)


@pytest.fixture
def full(make_harness: MakeHarness) -> Harness:
    """One upstream with a limit of one request, which it has; twenty may wait."""
    harness = make_harness(1, queue={"size": 20})
    harness.limit(1)
    harness.ask()
    return harness


def ask(harness: Harness, request: bytes, address: str = "10.0.0.1") -> FakeTransport:
    return harness.ask(request, harness.client(address))


def held(harness: Harness) -> int:
    return harness.proxy.context.waiting_bodies.held


def test_a_client_that_holds_most_gets_no_more(full: Harness) -> None:
    clients = [ask(full, BIG + PIECE), ask(full, BIG + PIECE)]
    assert [client.reading for client in clients] == [False, False]  # no more than one piece of each
    sent = ask(full, BIG + LITTLE).take()
    assert status_of(sent) == 503
    assert b"Retry-After: 1" in head_of(sent)
    assert b'details="bodies_full"' in sent
    assert full.logged()["reason"] == "bodies_full"
    assert ask(full, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").take() == b""  # without a body
    assert full.waiting == 3
    clients[0].lose()
    full.settle()
    assert ask(full, BIG + LITTLE).take() == b""


def test_its_last_one_gives_way_for_another_client(full: Harness) -> None:
    first, last = ask(full, BIG + PIECE), ask(full, BIG + PIECE)
    others = [ask(full, BIG + LITTLE, f"10.0.1.{number}") for number in range(5)]
    assert status_of(last.take()) == 503
    assert [client.take() for client in (first, *others)] == [b""] * 6
    assert held(full) == len(PIECE) + 5 * len(LITTLE)
    full.answer()
    assert body_of(full.upstream.take()).endswith(PIECE)
    assert held(full) == 5 * len(LITTLE)


def test_a_piece_that_comes_while_waiting_is_counted(full: Harness) -> None:
    ask(full, BIG + PIECE)
    client, other = ask(full, BIG), ask(full, BIG)
    client.receive(PIECE)
    full.settle()
    assert not client.reading
    other.receive(LITTLE)
    full.settle()
    assert status_of(other.take()) == 503
    assert full.waiting == 2


def test_what_is_not_decoded_yet_and_what_follows_is_counted(full: Harness) -> None:
    ask(full, CHUNKED + b"1\r\nx\r\n2\r\nxy\r\n" * 5000)
    assert held(full) > 50_000
    follows = b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100
    ask(full, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1" + follows, "10.0.0.2")
    assert held(full) > 50_000 + len(follows)


def test_bodies_that_wait_for_a_dial_are_counted(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.hold(1)
    client = harness.client("10.0.0.1")
    client.receive(BIG + PIECE)
    another = harness.client("10.0.0.1")
    another.receive(BIG + PIECE)
    third = harness.client("10.0.0.2")
    third.receive(BIG + LITTLE)
    harness.settle()
    assert status_of(another.take()) == 503
    assert (client.take(), third.take()) == (b"", b"")


def test_a_client_that_leaves_before_it_gives_way_does_no_harm(full: Harness) -> None:
    ask(full, BIG + PIECE)
    last = ask(full, BIG + PIECE)
    other = full.client("10.0.0.9")
    other.receive(BIG + LITTLE)
    last.lose()
    full.settle()
    assert full.waiting == 2


class Person:
    def __init__(self) -> None:
        self.left = 0

    def give_way(self) -> None:
        self.left += 1


def test_the_largest_client_gives_way_until_there_is_room() -> None:
    loop = FakeLoop(FakeClock())  # type: ignore[abstract]  # it has what is used, not all of asyncio
    bodies = WaitingBodies(loop)
    people = [Person() for _ in range(8)]
    for person in people:
        assert bodies.hold(person, "large", MOST // 8)
    newcomer = Person()
    assert bodies.hold(newcomer, "small", MOST // 4)
    loop.settle()
    assert [person.left for person in people] == [0, 0, 0, 0, 0, 0, 1, 1]
    assert bodies.held == MOST
    assert not bodies.hold(newcomer, "small", MOST // 2)  # it would hold as much as the other
    for person in (*people, newcomer):
        bodies.release(person)
    assert bodies.held == 0
