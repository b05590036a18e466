"""Sends a raw response to a real UpstreamConnection, and reports what its reader was told."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import cast

from balancer.connections.intake import Turns
from balancer.connections.roles import IdleOwner, Outlet, ResponseReader, UpstreamSide
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import Failure
from balancer.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE
from balancer.http.head_memory import ResponseHeads
from balancer.http.response_head import ResponseHead
from balancer.http.wire import render_informational, render_response
from balancer.upstreams.upstream import Upstream
from tests.corpus.cases import Case, unescape
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.requests import send_request
from tests.fakes.transport import FakeTransport, TransportOutlet

_SENT = re.compile(
    rb"HTTP/1\.1 ([1-9][0-9]{2}) [\t -~\x80-\xff]*\r\n"
    rb"(?:[!#-'*+\-.^-z|~0-9A-Z]+:[^\r\n\0]*\r\n)*\r\n"
)
_DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


@dataclass
class Response:
    """The observed outcome of one response, or the required one.

    `reusable` says whether another request may follow on the connection; `failure` is the reason word;
    `begun` whether the reader had a final head by then. `lines` are the rendered head's.
    """

    informational: list[int] = field(default_factory=list)
    status: int = 0
    framing: str = ""
    body: bytes = b""
    trailers: bytes = b""
    ended: bool = False
    reusable: bool = False
    failure: str = ""
    switched: bool = False
    begun: bool = False
    lines: list[bytes] = field(default_factory=list)


@dataclass
class Verdict:
    """The required outcome of a response case, with the (start of) lines to be kept and dropped."""

    response: Response
    keeps: list[bytes]
    drops: list[bytes]


@dataclass(frozen=True)
class Setup:
    """The @ lines of a response case."""

    method: bytes = b"GET"
    client_minor: int = 1
    upgrading: bool = False
    end: str = ""
    header_bytes: int = 65536
    header_count: int = 200


def verdict_of(case: Case) -> Verdict:
    """The = lines of a response case."""
    demanded = Response()
    verdict = Verdict(demanded, [], [])
    for line in case.verdict:
        word, _, rest = line.partition(" ")
        if word == "accept":
            status, demanded.framing = rest.rsplit(" ", 1)[0].split(" ", 1)
            demanded.status = int(status)
            demanded.reusable = {"reuse": True, "discard": False}[rest.rsplit(" ", 1)[1]]
            demanded.ended = demanded.begun = True
        elif word == "body":
            demanded.body = unescape(rest)
            demanded.begun = True
        elif word == "trailers":
            demanded.trailers = unescape(rest)
        elif word == "informational":
            demanded.informational.append(int(rest))
        elif word == "keeps":
            verdict.keeps.append(unescape(rest))
        elif word == "drops":
            verdict.drops.append(unescape(rest).lower())
        elif word in ("fail", "broken"):
            demanded.failure = rest
            demanded.begun |= word == "broken"
        elif word == "tunnel":
            demanded.switched = True
            demanded.body = unescape(rest)
        elif word != "waits":
            raise ValueError(f"{case.id}: no such verdict: {line}")
    return verdict


def setup_of(case: Case) -> Setup:
    """The @ lines of a response case."""
    setup: dict[str, object] = {}
    for line in case.setup:
        word, _, rest = line.partition(" ")
        if word == "request":
            setup["method"] = rest.encode()
        elif word == "client":
            setup["client_minor"] = {"1.0": 0, "1.1": 1}[rest]
        elif word == "limit":
            name, value = rest.split()
            setup[name] = int(value)
        elif word == "end":
            setup["end"] = rest
        elif word == "upgrading":
            setup["upgrading"] = True
        else:
            raise ValueError(f"{case.id}: no such setup: {line}")
    return Setup(**setup)  # type: ignore[arg-type]  # parsed from text; a wrong type fails the case


def end(transport: FakeTransport, how: str) -> None:
    """End the connection as specified by an @ end line."""
    if how == "close":
        transport.receive_eof()
    elif how == "reset":
        transport.lose(ConnectionResetError())
    elif how == "broken pipe":
        transport.lose(BrokenPipeError())
    elif how:
        raise ValueError(f"no such end: {how}")


def check_sent(rendered: bytes) -> list[bytes]:
    """The lines of a head as sent to the client, which are exact whatever the upstream sent: there is one
    framing, and only CRLF ends a line."""
    match = _SENT.fullmatch(rendered)
    assert match is not None, rendered
    lines = rendered[:-4].split(b"\r\n")
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    lengths, codings = names.count(b"content-length"), names.count(b"transfer-encoding")
    assert lengths + codings <= (0 if match[1] < b"200" or match[1] == b"204" else 1), rendered
    return lines


class Owner(IdleOwner):
    """The owner of the idle connection: after a reusable response the connection is idle, and any bytes then
    spoil it."""

    def __init__(self, seen: Response) -> None:
        self._seen = seen

    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """Idle from now on, if another request may follow."""
        self._seen.reusable = connection.release()
        if not self._seen.reusable:
            connection.cancel()

    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """Spoiled while idle."""
        self._seen.reusable = False
        connection.cancel()


class Recorder(ResponseReader):
    """A reader that records what it is told, and treats the connection as the exchange would."""

    def __init__(self, setup: Setup) -> None:
        clock = FakeClock()
        self.loop = FakeLoop(clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.seen = Response()
        self._owner = Owner(self.seen)
        self._setup = setup
        upstream = Upstream("app", "10.0.0.1", 8000, 1, memoryview(bytearray(8 * 512)).cast("q"))
        self._connection = UpstreamConnection(
            upstream,
            self._owner,
            Turns(self.loop, clock),
            ResponseHeads(setup.header_count),
            setup.header_bytes,
            0,
        )
        self._transport = FakeTransport(self.loop, cast(asyncio.Protocol, self._connection))

    def run(self, pieces: list[bytes]) -> Response:
        """One request has been sent; `pieces` arrive one by one, then the end specified by the case."""
        connection, transport = self._connection, self._transport
        send_request(connection, self, self._setup.method, self._setup.upgrading)
        for piece in pieces:
            transport.receive(piece)
        reusable = self.seen.reusable
        end(transport, self._setup.end)
        self.loop.settle()
        self.seen.reusable = reusable
        return self.seen

    def informational(self, head: ResponseHead) -> None:
        self._expect_more()
        self.seen.informational.append(head.status)
        check_sent(render_informational(head))

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        self._expect_more()
        assert not self.seen.begun
        names = {CHUNKED: "chunked", UNTIL_CLOSE: "close", NO_BODY: "none"}
        self.seen.begun = True
        self.seen.status = head.status
        self.seen.framing = names.get(head.length, f"length {head.length}")
        rendered = render_response(head, self._setup.client_minor, False, _DATE)
        self.seen.lines = check_sent(rendered)
        self.seen.body = body
        self._finish(last)

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        self._expect_more()
        assert self.seen.begun
        self.seen.body += body
        self.seen.trailers = trailers
        self._finish(last)

    def switched(self, head: ResponseHead, data: bytes) -> None:
        self._expect_more()
        self.seen.switched = True
        self.seen.body = data

    def tunnel_data(self, data: bytes) -> None:
        assert self.seen.switched
        self.seen.body += data

    def tunnel_half_closed(self) -> None:
        """The other direction does not matter here."""

    def tunnel_ended(self) -> None:
        self.seen.ended = True

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self._expect_more()
        self.seen.failure = failure.reason
        self._connection.cancel()

    def upstream_paused(self, paused: bool) -> None:
        raise AssertionError("nothing was written")

    def crashed(self, error: Exception) -> None:
        raise error

    def outlet(self) -> Outlet:
        return TransportOutlet(self._transport)

    def _expect_more(self) -> None:
        assert not self.seen.ended, "told something after the last call"
        assert not self.seen.failure, "told something after the failure"

    def _finish(self, last: bool) -> None:
        if not last:
            return
        self.seen.ended = True
        self._owner.put(self._connection, 0)
