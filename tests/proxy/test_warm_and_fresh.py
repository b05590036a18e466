"""A worker that has served many clients treats each request as a fresh worker would: nothing that it
remembers of heads and lines changes what the app and the client get, or what is logged and counted."""

import re
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import pytest

from balancer.spec.worker import AnswerSpec, FieldsSpec, RewriteSpec
from balancer.telemetry.columns import ROUTE_DURATION, ROUTE_INFLIGHT, ROUTE_REQUEST_BYTES
from tests.fakes.specs import route_spec
from tests.fakes.wire import VIA, FakeClock, FakeTransport, Wire, start_message

STEPS = 250
CLIENTS = 4
ADDRESSES = ("192.0.2.1", "192.0.2.2", "10.0.0.1")  # of the clients; the last one is a trusted proxy
_MADE_ID = re.compile(rb"\b[0-9a-f]{28}\b")
_FAULT = re.compile(
    rb"Content-Length: \d+\r\n(?:[^\n]*\r\n)?\r\n[45]0[02] [^\n]*\n[^\n]* is not valid HTTP/1.1. [^\n]*"
)
PIN = b"balancer_sticky="
# The first of each pair are valid as they are, and chosen more often.
STARTS = (
    [
        b"GET / HTTP/1.1", b"GET / HTTP/1.1", b"GET /a?b HTTP/1.1", b"HEAD / HTTP/1.1", b"POST / HTTP/1.1",
        b"GET /a/c/../d HTTP/1.1", b"GET /%61/x HTTP/1.1",
        b"GET / HTTP/1.0", b"HEAD / HTTP/1.0", b"get / HTTP/1.1", b"\r\nGET / HTTP/1.1",
    ],
    [
        b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /\0 HTTP/1.1", b"GET /# HTTP/1.1", b"GET / HTTP/2.0",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1", b"CONNECT / HTTP/1.1", b"GET / HTTP/1.1\n", b"G\rET / H",
        b"OPTIONS * HTTP/1.1", b"GET http://b/ HTTP/1.1",
    ],
)  # fmt: skip
LINES = (
    [
        b"Accept: x", b"User-Agent: one", b"User-Agent: two\x9b", b"Referer: /a", b"Content-Length: 0",
        b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive",
        b"Connection: Upgrade", b"Upgrade: websocket", b"Connection: te, accept", b"TE: trailers",
        b"X-Forwarded-For: 198.51.100.9", b"X-Forwarded-For: 10.0.0.2, 10.0.0.3", b"X-Forwarded-Host: c",
        b"X-Forwarded-Proto: https", b"Forwarded: for=198.51.100.8;host=d", b"X-Real-IP: 198.51.100.7",
        b"X_Forwarded_For: 1.2.3.4", b"X-Request-ID: client-7", b"Via: 1.1 " + VIA.encode(),
        b"Via: 1.1 balancer-ffffffff", b"Cookie: a=b", b"Cookie: a=b; " + PIN + b"x" * 22,
        b"Cookie: " + PIN + b"PIN; app=PIN~v", b"Expect: 100-continue", b"X: " + b"y" * 1100,
    ],
    [
        b"Host: b", b"Host: a\0", b"Accept: x\0", b"Accept : x", b" Accept: x", b"Accept: x\nX: y",
        b"Accept: x\rX: y", b"Content-Length: 3, 3", b"Content-Length: +3", b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked", b"Connection: host", b"GET / HTTP/1.1",
    ],
)  # fmt: skip
BODIES = [b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"zz\r\n"]
RESPONSE_STARTS = (
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK", b"HTTP/1.1 404 ", b"HTTP/1.1 503 Busy",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 426 Upgrade",
    ],
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket", b"HTTP/2 200 OK",
    ],
)  # fmt: skip
RESPONSE_LINES = (
    [
        b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive",
        b"Date: then", b"Set-Cookie: app=1", b"Cache-Control: public", b"X: y", b"Upgrade: websocket",
    ],
    [b"X: \0", b"X : y", b"Content-Length: 0"],
)  # fmt: skip


class Step(NamedTuple):
    """What one client sends, by pieces, and with what the app answers each request."""

    client: int
    pieces: list[bytes]
    answers: list[bytes]


class Seen(NamedTuple):
    """What one step has led to."""

    app: list[bytes]
    client: bytes
    ended: bool
    logged: list[dict[str, Any]]


class Worker:
    """A worker, with one upstream."""

    def __init__(self, settings: dict[str, Any], clock: FakeClock) -> None:
        self.wire = Wire(start_message(trusted_proxies=["10.0.0.0/8"], **settings), clock)
        self.clients: dict[int, FakeTransport] = {}
        self._logged = 0

    def run(self, step: Step) -> Seen:
        wire = self.wire
        client = self.clients.get(step.client)
        if client is None:
            client = self.clients[step.client] = wire.connect(ADDRESSES[step.client % len(ADDRESSES)])
        app: list[bytes] = []
        answers = list(step.answers)
        for piece in step.pieces:
            wire.clock.advance(1e-6)
            client.receive(piece)
            wire.settle()
            while self._answer(app, answers):
                pass
        exchange: Any = getattr(client.protocol, "exchange", None)
        if exchange is not None and exchange.active and not client.is_closing():
            for upstream in wire.loop.transports:
                if upstream.protocol.reader is not None:  # type: ignore[attr-defined]
                    upstream.receive_eof()
            wire.settle()
        ended = client.is_closing() or client.eof_written
        if ended or not _is_idle(client):
            client.lose(ConnectionResetError())
            wire.settle()
            del self.clients[step.client]
        wire.loop.transports = [one for one in wire.loop.transports if not one.is_closing()]
        records = wire.records.records[self._logged :]
        self._logged += len(records)
        unlike = ("time", "request_id", "reused", "duration", "first_byte", "queue", "connect", "failures")
        logged = [{name: value for name, value in record.items() if name not in unlike} for record in records]
        return Seen(app, _comparable(client.take()), ended, logged)

    def _answer(self, app: list[bytes], answers: list[bytes]) -> bool:
        """Let the app read, and answer what begins with a request."""
        for upstream in self.wire.loop.transports:
            data = upstream.take()
            if data:
                app.append(_comparable(data))
                self.wire.clock.advance(1e-6)
                if answers:
                    upstream.receive(answers.pop(0))
                self.wire.clock.advance(1e-6)
                self.wire.settle()
                return True
        return False

    def counts(self) -> list[int]:
        """Of its route, without durations."""
        cells = self.wire.page.row(3).tolist()
        return [*cells[:ROUTE_DURATION], *cells[ROUTE_REQUEST_BYTES : ROUTE_INFLIGHT + 1]]

    def close(self) -> None:
        self.wire.proxy.sweep()
        assert self.wire.proxy.context.batch.running == 0
        assert not [line for line in self.wire.logs if line[0] == "error"]
        self.wire.close()


def _is_idle(client: FakeTransport) -> bool:
    """Whether it waits for a request's first byte."""
    protocol: Any = client.protocol
    return protocol._state == 0 and not protocol._ahead.data and not protocol.exchange.active


def _comparable(data: bytes) -> bytes:
    """Without the ids that the worker has made for its requests. Of several faults any may be named."""
    return _FAULT.sub(b"(fault)", _MADE_ID.sub(b"(made)", data))


def _one(random: Random, of: tuple[list[bytes], list[bytes]]) -> bytes:
    return random.choice(of[random.random() < 0.08])


def _head(
    random: Random,
    starts: tuple[list[bytes], list[bytes]],
    lines: tuple[list[bytes], list[bytes]],
    always: list[bytes],
) -> bytes:
    more = [_one(random, lines) for _ in range(random.choice((0, 0, 1, 1, 2, 4)))]
    every = [*always, *more]
    if random.random() < 0.1:
        random.shuffle(every)
    return b"\r\n".join([_one(random, starts), *every, b"", b""])


def _request(random: Random, pin: bytes) -> bytes:
    head = _head(random, STARTS, LINES, [b"Host: a"] if random.random() < 0.95 else [])
    has_body = b"\r\nContent-Length: 3" in head or b"\r\nTransfer-" in head
    body = random.choice(BODIES) if has_body or random.random() < 0.05 else b""
    return head.replace(b"PIN", pin) + body


def _response(random: Random) -> bytes:
    length = [b"Content-Length: 3"] if random.random() < 0.7 else []
    body = b"abc" if length and random.random() < 0.8 else random.choice(BODIES)
    return _head(random, RESPONSE_STARTS, RESPONSE_LINES, length) + body


# Values that may differ from one head of a connection to the next, and some that they then have.
VALUES = re.compile(rb"(?<=\n)([\w-]+): ([^\r\n\0]*)")
MEANT = [b"Connection", b"Transfer-Encoding", b"Content-Length"]  # they are left alone more often
START = re.compile(rb"\A([A-Z]+ )(/[^ \r\n]*)( HTTP/1\.1\r\n)")
TARGETS = [b"/", b"/b", b"/a/x", b"/a?b", b"/c", b"/a/c/../d", b"/a%2fx"]
OTHERS = [b"z", b"a=1; b=2", PIN + b"x" * 22, b"\xff", b" 7 ", b"not an id", b"y" * 300] * 2


def _varied(random: Random, message: bytes, times: int, pin: bytes = b"") -> list[bytes]:
    """The same so many times, with other values in one or two of its lines, and some other targets."""
    head, end, body = message.partition(b"\r\n\r\n")
    # An invalid Host may come with another fault; then either may be named.
    names = [match[1] for match in VALUES.finditer(head) if match[1] != b"Host"] or [b""]
    if random.random() < 0.9:
        names = [name for name in names if name not in MEANT] or names
    varied = random.choices(names, k=2)

    def other(match: re.Match[bytes]) -> bytes:
        values = [b"z\0", b"%d" % random.randrange(1000), *OTHERS, b"c=d; " + PIN + pin, match[2]]
        return b"%b: %b" % (match[1], random.choice(values)) if match[1] in varied else match[0]

    def start(line: re.Match[bytes]) -> bytes:
        return line[1] + random.choice(TARGETS) + line[3] if random.random() < 0.4 else line[0]

    return [START.sub(start, VALUES.sub(other, head)) + end + body for _ in range(times)]


def _steps(random: Random, pin: bytes) -> list[Step]:
    # Few, so that they come again.
    requests = [_request(random, pin) for _ in range(30)]
    responses = [_response(random) for _ in range(8)]
    for one in random.sample(requests, 3):  # one that begins with an empty line, and one with another line
        requests += [b"\r\n" + one, b"GET /b HTTP/1.1\r\n" + one]
    usual = [random.choice(requests) for _ in range(CLIENTS)]
    steps = []
    for _ in range(STEPS):
        client = random.randrange(CLIENTS)
        if random.random() < 0.4:  # the same again, with other values
            again = _varied(random, usual[client], 5, pin)
            steps.append(Step(client, again, _varied(random, random.choice(responses), 6)))
            continue
        if random.random() < 0.5:
            chosen = [usual[client]] * random.choice((1, 2))
        else:
            chosen = random.choices(requests, k=random.choice((1, 1, 2, 3)))
            usual[client] = chosen[-1]
        if random.random() < 0.1:  # the end of one request ends another one's body, or stands for a request
            chosen.insert(0, random.choice(requests)[random.randrange(40) :])
        data = b"".join(chosen)
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 0, 0, 1, 2))))
        edges = [0, *cuts, len(data)]
        pieces = [data[a:b] for a, b in pairwise(edges) if a < b]
        if random.random() < 0.5:  # one request a piece
            pieces = chosen
        steps.append(Step(client, pieces, random.choices(responses, k=4)))
    return steps


STICKY: dict[str, dict[str, Any]] = {
    "plain": {},
    "sticky": {"sticky": {"secret": "x" * 32}},
    "sticky by the app's cookie": {"sticky": {"secret": "x" * 32, "app_cookie": "app"}},
    "routes": {
        "more": {"api": 1, "web": 1},
        "routes": [
            route_spec("default", match={"methods": ("POST",), "headers": (("Referer", "*"),)}),
            route_spec("closed", "", match={"path": "/b"}, answer=AnswerSpec(status=410, body=b"gone")),
            route_spec(
                "moved", "", match={"cookies": (("a", "b"),)}, answer=AnswerSpec(status=302, location="$uri")
            ),
            route_spec(
                "api",
                match={"path_prefixes": ("/a",)},
                rewrite=RewriteSpec(prefixes=("/a",), instead="/v2", host="api.example"),
            ),
            route_spec(
                "web",
                rewrite=RewriteSpec(fields=FieldsSpec(set=(("X-Client", "$client_ip"),), remove=("Accept",))),
                response=FieldsSpec(add=(("X-Served", "$host"),), remove=("X",)),
            ),
        ],
    },
}


def _pin_of(settings: dict[str, Any]) -> bytes:
    worker = Worker(settings, FakeClock())
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: app=1\r\nCache-Control: no-store\r\n\r\n"
    seen = worker.run(Step(0, [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], [answer]))
    worker.close()
    for mark in (PIN, b"app="):
        if mark in seen.client:
            return seen.client.partition(mark)[2][:22]
    return b""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", STICKY)
def test_a_warm_worker_serves_as_a_fresh_one(kind: str, seed: int) -> None:
    settings = STICKY[kind]
    random = Random(seed)
    clock = FakeClock()
    warm = Worker(settings, clock)
    counts = [0] * len(warm.counts())
    for number, step in enumerate(_steps(random, _pin_of(settings))):
        if random.random() < 0.1:
            warm.wire.advance(random.choice((0.25, 1.0)))
        now = FakeClock()
        now._now_ns, now._wall = clock._now_ns, clock._wall
        warm.wire.proxy.sweep()  # for the Date
        fresh = Worker(settings, now)
        expected = fresh.run(step)
        got = warm.run(step)
        assert got == expected, (number, step)
        counts = [a + b for a, b in zip(counts, fresh.counts(), strict=True)]
        fresh.close()
    assert warm.counts() == counts
    warm.close()
