"""Limits on client connections: which is closed when all slots are taken, and which is refused."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import socket
from collections.abc import Callable

import pytest

from balancer.clients.admission import Admission
from balancer.clients.listener_counts import ListenerCounts
from balancer.clients.roles import Guest
from balancer.errors import Failure
from balancer.http.forwarding import Forwarding
from balancer.telemetry.columns import CELLS_PER_ROW, LISTENER_CONNECTIONS_RECLAIMED
from tests.fakes.transport import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"


def reclaimed(harness: Harness) -> int:
    return harness.page.row(1)[LISTENER_CONNECTIONS_RECLAIMED]


def is_served(harness: Harness, client: FakeTransport) -> bool:
    harness.ask(client=client)
    if not client.is_closing():
        harness.answer()
    return client.take() == OK


def warm(harness: Harness) -> FakeTransport:
    """A client that is idle after a response."""
    client = harness.client()
    assert is_served(harness, client)
    return client


# --- which connection is closed


def test_the_connection_idle_for_longest_is_closed_first(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 4})
    silent = harness.client()
    harness.advance(1.0)
    used = [warm(harness), warm(harness)]
    harness.advance(1.0)
    fresh = harness.client()
    harness.advance(1.0)
    assert is_served(harness, used[0])  # it is the most recent one now
    gone = []
    for _ in range(4):
        harness.advance(0.1)
        assert is_served(harness, harness.client())
        gone.append([one.closed for one in (silent, used[1], fresh, used[0])])
    assert gone == [[number <= turn for number in range(4)] for turn in range(4)]
    assert not any(one.aborted for one in (silent, *used, fresh))
    assert (reclaimed(harness), harness.proxy.connections) == (4, 4)


def test_without_idle_timeouts_idle_clients_are_still_closed_for_new_ones(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 2}, timeouts={"client_idle": 0.0, "request_head": 0.0})
    one = warm(harness)
    harness.advance(1.0)
    two = harness.client()
    harness.advance(1.0)
    harness.client()
    assert (one.closed, two.closed) == (True, False)


def in_flight(harness: Harness, client: FakeTransport) -> None:
    harness.ask(client=client)


def uploads(harness: Harness, client: FakeTransport) -> None:
    harness.ask(POST + b"ab", client)


def has_begun_a_head(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET[:9], client)


def has_not_taken_its_response(harness: Harness, client: FakeTransport) -> None:
    harness.ask(client=client)
    client.buffered = 100
    harness.answer()


def pipelines_and_reads_nothing(harness: Harness, client: FakeTransport) -> None:
    harness.ask(client=client)
    client.pause_writing()
    client.receive(GET)
    harness.answer()


BUSY = [in_flight, uploads, has_begun_a_head, has_not_taken_its_response, pipelines_and_reads_nothing]


@pytest.mark.parametrize("busy", BUSY, ids=lambda one: one.__name__)
def test_no_connection_is_closed_that_is_busy(
    make_harness: MakeHarness, busy: Callable[[Harness, FakeTransport], None]
) -> None:
    harness = make_harness(limits={"max_connections": 1})
    client = harness.client()
    busy(harness, client)
    harness.advance(0.5)
    assert status_of(harness.client().take()) == 503
    assert not client.is_closing()
    assert (reclaimed(harness), harness.local_counted("too_many_connections")) == (0, 1)


def test_the_slowest_heads_are_closed_if_no_connection_is_idle_or_lingers(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 3})
    slow = harness.ask(GET[:9])
    harness.advance(0.3)
    later = harness.ask(GET[:9])
    harness.advance(0.8)
    lingering = harness.ask(BAD)
    gone = []
    for _ in range(2):
        harness.ask()
        gone.append([one.is_closing() for one in (lingering, slow, later)])
    assert gone == [[True, False, False], [True, True, False]]
    assert status_of(harness.client().take()) == 503  # a head may take a second
    harness.advance(0.3)
    harness.ask()
    assert later.is_closing()


def test_an_empty_line_does_not_begin_a_head(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 1})
    client = harness.ask(b"\r\n")
    assert is_served(harness, harness.client())
    assert client.closed


def test_lingering_connections_are_closed_if_none_is_idle(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 3})
    lingering = harness.ask(BAD)
    harness.advance(0.3)
    later = harness.ask(BAD)
    harness.advance(0.3)
    idle = harness.client()
    gone = []
    for _ in range(3):
        harness.advance(0.1)
        harness.ask()
        gone.append([one.is_closing() for one in (idle, lingering, later)])
    assert gone == [[True, False, False], [True, True, False], [True, True, True]]
    assert status_of(harness.client().take()) == 503


def test_an_unread_request_keeps_its_connection(make_harness: MakeHarness) -> None:
    """Closing now would answer it with a reset."""
    harness = make_harness(limits={"max_connections": 2})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asking = harness.connect(socket=ours)
        harness.clients.append(asking)
        harness.advance(1.0)
        idle = harness.client()
        theirs.sendall(GET)
        assert is_served(harness, harness.client())
        assert (asking.is_closing(), idle.closed) == (False, True)


def test_a_connection_whose_client_has_left_is_closed_before_its_end_is_read(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(limits={"max_connections": 1})
    ours, theirs = socket.socketpair()
    with ours:
        left = harness.connect(socket=ours)
        theirs.close()
        assert is_served(harness, harness.client())
        assert left.closed


# --- which connection is refused


def busy_client(harness: Harness) -> FakeTransport:
    return harness.ask(GET[:9])


def test_the_surplus_client_gets_a_503(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 2})
    one, two = busy_client(harness), busy_client(harness)
    three = harness.client()
    sent = three.take()
    assert status_of(sent) == 503
    assert {b"Connection: close", b"Retry-After: 1"} <= set(head_of(sent))
    assert three.eof_written
    three.receive(GET)
    assert three.take() == b""
    assert harness.local_counted("too_many_connections") == 1
    for client in (one, two):
        harness.ask(GET[9:], client)
        harness.answer()
        assert client.take() == OK


def test_a_client_that_leaves_makes_room(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 1})
    one = busy_client(harness)
    refused = harness.client()
    one.receive_eof()
    harness.settle()
    assert status_of(refused.take()) == 503  # it lingers, but takes no slot
    assert is_served(harness, harness.client())


def test_at_most_100_surplus_clients_linger(make_harness: MakeHarness) -> None:
    """Each lingering connection holds a descriptor, which admitted connections need."""
    harness = make_harness(1, limits={"max_connections": 1})
    first = busy_client(harness)
    surplus = [harness.client() for _ in range(120)]
    assert all(status_of(client.take()) == 503 for client in surplus)
    assert [client.is_closing() for client in surplus] == [False] * 100 + [True] * 20
    harness.settle()
    harness.ask(GET[9:], client=first)
    harness.answer()
    assert body_of(first.take()) == b"ok"


# --- connections per address


def test_connections_per_client_limits_each_address(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"connections_per_client": 2})
    one, two = harness.client("198.51.100.1"), harness.client("198.51.100.1")
    sent = harness.client("198.51.100.1").take()
    assert status_of(sent) == 429
    assert {b"Connection: close", b"Retry-After: 1"} <= set(head_of(sent))
    assert b'Proxy-Status: balancer; error=http_request_denied; details="too_many_from_client"' in head_of(
        sent
    )
    assert harness.local_counted("too_many_from_client") == 1
    assert is_served(harness, harness.client("198.51.100.2"))
    two.receive_eof()
    harness.settle()
    assert is_served(harness, harness.client("198.51.100.1"))
    assert status_of(harness.client("198.51.100.1").take()) == 429
    assert is_served(harness, one)


@pytest.mark.parametrize(
    ("addresses", "status"),
    [
        pytest.param(("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"), 429, id="of one /64"),
        pytest.param(("2001:db8:0:1::1", "2001:db8:0:2::1"), 200, id="of two /64"),
        pytest.param(("198.51.100.1", "::ffff:198.51.100.1"), 429, id="IPv4 mapped into IPv6"),
        pytest.param(("192.0.2.1", "192.0.2.1"), 200, id="a trusted proxy"),
    ],
)
def test_which_addresses_are_one_client(
    make_harness: MakeHarness, addresses: tuple[str, str], status: int
) -> None:
    harness = make_harness(limits={"connections_per_client": 1}, trusted_proxies=["192.0.2.0/24"])
    harness.client(addresses[0])
    second = harness.client(addresses[1])
    if not second.eof_written:
        harness.ask(client=second)
        harness.answer()
    assert status_of(second.take()) == status


def test_a_client_over_its_limit_evicts_no_connection(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 2, "connections_per_client": 1})
    idle = [harness.client("198.51.100.1"), harness.client("198.51.100.2")]
    assert status_of(harness.client("198.51.100.1").take()) == 429
    assert not any(client.is_closing() for client in idle)


def test_a_connection_closed_for_another_no_longer_counts(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"max_connections": 1, "connections_per_client": 1})
    for _ in range(3):
        for address in ("198.51.100.1", "198.51.100.2"):
            assert is_served(harness, harness.client(address))
            harness.advance(0.01)


# --- costs


class Someone(Guest):
    """A connection that counts how often connections are examined."""

    looked_at = 0

    def __init__(self, rank: int) -> None:
        self.admitted = False
        self.counts = ListenerCounts(memoryview(bytearray(8 * CELLS_PER_ROW)).cast("q"))
        self.peer = Forwarding([]).peer("198.51.100.7")
        self.rank = rank

    def spare_rank(self) -> int:
        Someone.looked_at += 1
        return self.rank

    def make_room(self) -> bool:
        return True


class Crowd:
    """`count` connections in all slots; the first is `idle` for longest, or none is."""

    def __init__(self, count: int, idle: bool) -> None:
        self.clients: set[Guest] = set()
        self.admission = Admission(count, 0, self.clients)
        self.number = 0
        self.now_ns = 0
        for _ in range(count):
            assert self.comes(idle) is None
        Someone.looked_at = 0

    def comes(self, idle: bool) -> Failure | None:
        self.number += 1
        someone = Someone(self.number if idle else -1)
        failure = self.admission.admit(someone, self.now_ns)
        if failure is None:
            self.clients.add(someone)
            self.clients -= (
                {one for one in self.clients if not one.admitted} if self.number % 50 == 0 else set()
            )
        return failure


def test_each_connection_of_a_flood_examines_few_others() -> None:
    crowd = Crowd(5000, idle=True)
    for _ in range(5000):
        assert crowd.comes(True) is None
    assert Someone.looked_at / 5000 < 20


def test_without_idle_connections_all_are_examined_only_now_and_then() -> None:
    crowd = Crowd(5000, idle=False)
    for _ in range(2000):
        assert crowd.comes(False) is not None
        crowd.now_ns += 100_000
    assert Someone.looked_at <= 5 * 5000  # in 0.2 s


def test_a_connection_that_becomes_idle_is_soon_found() -> None:
    crowd = Crowd(5000, idle=False)
    assert crowd.comes(False) is not None
    next(iter(crowd.clients)).rank = 1  # type: ignore[attr-defined]  # of Someone
    crowd.now_ns += 50_000_000
    assert crowd.comes(False) is None
