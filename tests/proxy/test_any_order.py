"""Any events in any order: nothing leaks, nothing is written too late, no reader is left behind."""

from collections.abc import Callable
from random import Random

import pytest

from balancer.telemetry.columns import ROUTE_INFLIGHT
from tests.fakes.wire import FakeTransport
from tests.proxy.harness import Harness

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = [
    GET,
    GET,
    GET * 3,
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    POST + b"abcdef",
    POST + b"abcdef" + GET,
    POST,
    CHUNKED,
    CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n" + GET,
    UPGRADE,
    UPGRADE + b"\x81\x00",
    GET[:10],
    GET[10:],
]
PARTS = [
    b"abc",
    b"abcdef",
    b"3\r\nabc\r\n",
    b"3\r\na",
    b"bc\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"zz\r\n",
    b"0\r\n\r\n" + GET,
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
RESPONSES = [
    OK,
    OK,
    OK,
    OK[:-1],
    OK + b"surplus",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 103 Hint\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    SWITCH,
    SWITCH + b"frames",
    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    OK[:10],
    OK[10:],
    b"nonsense\r\n\r\n",
]
PIECES = [b"k", b"k", b"2\r\nok\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n"]

LAST = [b"", b"", OK, OK[:-1], SWITCH, SWITCH + b"frames", b"frames", b"HTTP/1.0 200 OK\r\n\r\nok"]

STEPS = 80
SEEDS = 200


class Play:
    """Plays random events of the outside world: mostly plausible ones, sometimes not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.harness = self.set_up()
        self.harness.in_any_order = True
        self.paused: list[FakeTransport] = []
        self.acts: list[tuple[int, Callable[[], None]]] = [
            (30, self.request),
            (35, self.respond),
            (25, self.harness.settle),
            (6, self.dial),
            (4, self.client_ends),
            (3, self.upstream_ends),
            (6, self.pause),
            (6, self.resume),
            (5, self.time_passes),
            (4, self.dials_change),
            (1, self.address_changes),
            (1, self.limit_changes),
        ]

    def set_up(self) -> Harness:
        harness = Harness(
            2,
            timeouts={"total": self.random.choice([0.0, 100.0]), "tunnel_drain": 1.0},
            queue={"size": self.random.choice([0, 1, 1, 2]), "timeout": self.random.choice([1.0, 40.0])},
            outlier={"enabled": True},
        )
        if self.random.random() < 0.5:
            harness.limit(1)
        return harness

    def step(self) -> None:
        weights = [weight for weight, _ in self.acts]
        self.random.choices(self.acts, weights)[0][1]()

    def client(self) -> FakeTransport:
        ends = [client for client in self.harness.clients if not client.is_closing()]
        if len(ends) < 5 and (not ends or self.random.random() < 0.3):
            return self.harness.client()
        return self.random.choice(ends)

    def upstream(self) -> FakeTransport | None:
        ends = [upstream for upstream in self.harness.loop.transports if not upstream.is_closing()]
        busy = [upstream for upstream in ends if upstream.protocol.reader is not None]  # type: ignore[attr-defined]
        wanted = busy if busy and self.random.random() < 0.95 else ends
        return self.random.choice(wanted) if wanted else None

    def request(self) -> None:
        client = self.client()
        fits = client.protocol._state in (1, 3)  # type: ignore[attr-defined]  # in a body, in a tunnel
        data = self.random.choice(PARTS if fits or self.random.random() < 0.1 else REQUESTS)
        client.receive(data)

    def respond(self) -> None:
        upstream = self.upstream()
        if upstream is not None:
            begun = upstream.protocol._framing.state == 1  # type: ignore[attr-defined]  # in a body
            fits = begun is not (self.random.random() < 0.05)
            if not begun and upstream.protocol._framing._upgrading and self.random.random() < 0.5:  # type: ignore[attr-defined]
                upstream.receive(SWITCH)
            else:
                upstream.receive(self.random.choice(PIECES if fits else RESPONSES))

    def dial(self) -> None:
        waiting = [dial for dial in self.harness.loop.dials if dial.pending]
        if waiting:
            dial = self.random.choice(waiting)
            if self.random.random() < 0.7:
                dial.accept()
            else:
                dial.fail(ConnectionRefusedError())

    def client_ends(self) -> None:
        self.end(self.client())

    def upstream_ends(self) -> None:
        self.end(self.upstream())

    def end(self, end: FakeTransport | None) -> None:
        if end is None:
            return
        how = self.random.random()
        if how < 0.5:
            end.receive_eof()
        elif how < 0.6:
            end.receive_reset(self.random.choice(LAST))
        elif how < 0.8:
            end.lose(ConnectionResetError(), self.random.choice(LAST))
        else:
            end.lose(BrokenPipeError(), self.random.choice(LAST))

    def pause(self) -> None:
        end = self.random.choice([self.client(), self.upstream()])
        idle = end is None or getattr(end.protocol, "reader", self) is None
        if end is not None and end.written and not idle and end not in self.paused:
            self.paused.append(end)
            end.pause_writing()

    def resume(self) -> None:
        for end in [end for end in self.paused if end.is_closing() or self.random.random() < 0.7]:
            self.paused.remove(end)
            if not end.lost:
                end.resume_writing()

    def time_passes(self) -> None:
        self.harness.advance(self.random.choice([0.01, 0.01, 0.26, 0.26, 1.1, 5.0, 31.0, 61.0]))

    def dials_change(self) -> None:
        how = self.random.choice(
            [self.harness.hold, self.harness.refuse, self.harness.accept, self.harness.accept]
        )
        how(self.random.choice([1, 2]))

    def address_changes(self) -> None:
        host = self.random.choice(["10.0.0.1", "10.0.0.9", ""])
        self.harness.move(1, host)

    def limit_changes(self) -> None:
        if self.harness.cap:
            self.harness.limit(self.random.choice([1, 1, 2, 0]))


def seen(seed: int) -> set[object]:
    """Plays one seed, checks the end, and returns the statuses and reasons that were logged."""
    play = Play(seed)
    drain_at = play.random.randrange(2 * STEPS)
    for step in range(STEPS):
        before = play.harness.inflight
        play.step()
        if step == drain_at:
            play.harness.proxy.drain(25_000_000_000)
        assert all(
            count >= 0
            for count in [*play.harness.inflight, play.harness.route.side.counters.value(ROUTE_INFLIGHT)]
        )
        cap = play.harness.cap or 1000
        assert all(now <= max(cap, was) for now, was in zip(play.harness.inflight, before, strict=True))
    play.harness.settle()
    said: set[object] = {
        value for record in play.harness.records.records for value in (record["status"], record["reason"])
    }
    play.harness.check_and_close()
    return said


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_invariants_hold_in_any_order_of_events(first: int) -> None:
    for seed in range(first, first + 20):
        try:
            seen(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_the_random_events_reach_every_state() -> None:
    """Otherwise the random events would prove nothing."""
    assert set().union(*(seen(seed) for seed in range(250))) >= {
        *(101, 200, 204, 400, 499, 502, 503, 504),
        *("queue_full", "queue_timeout", "upstreams_full"),
    }
