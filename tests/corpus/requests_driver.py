"""Sends a raw request to the real proxy, and reports what reached the upstream and the client.

Forwarded requests are read back by a separate parser, as strict and simple as possible: it accepts only the
form in which the proxy should write.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.corpus.cases import Case, unescape
from tests.fakes.wire import CLIENT_ADDRESS, FakeTransport, Wire, start_message

_HEAD = re.compile(
    rb"([!#-'*+\-.^-z|~0-9A-Z]+) ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[!#-'*+\-.^-z|~0-9A-Z]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[^\r]*\r\n")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_NEVER_FORWARDED = (b"keep-alive:", b"proxy-connection:", b"proxy-authorization:")
_FORWARDING = (
    b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip",
    b"x-request-id",
)  # fmt: skip
_NEVER = (b"proxy", b"client-cert", b"client-cert-chain")


@dataclass(frozen=True)
class Forwarded:
    """One whole request as the upstream received it. `fields` are its lines without CRLF."""

    method: bytes
    target: bytes
    framing: str
    fields: tuple[bytes, ...]
    body: bytes
    trailers: bytes


@dataclass(frozen=True)
class Observation:
    """The outcome of a case: whole requests at the upstream, statuses to the client, is it still
    connected."""

    forwarded: tuple[Forwarded, ...]
    statuses: tuple[int, ...]
    open: bool


@dataclass(frozen=True)
class Verdict:
    """The required outcome. `keeps` and `drops` are (index of the request, line or start of a line)."""

    accepted: tuple[tuple[bytes, bytes, str, bytes, bytes], ...]
    keeps: tuple[tuple[int, bytes], ...]
    drops: tuple[tuple[int, bytes], ...]
    rejected: int | None
    closes: bool


def verdict_of(case: Case) -> Verdict:
    """The = lines of a request case."""
    accepted: list[list[object]] = []
    keeps: list[tuple[int, bytes]] = []
    drops: list[tuple[int, bytes]] = []
    rejected: int | None = None
    closes = False
    for line in case.verdict:
        word, _, rest = line.partition(" ")
        if word == "accept":
            method, target, framing = rest.split(" ", 2)
            accepted.append([unescape(method), unescape(target), framing, b"", b""])
        elif word == "body":
            accepted[-1][3] = unescape(rest)
        elif word == "trailers":
            accepted[-1][4] = unescape(rest)
        elif word == "keeps":
            keeps.append((len(accepted) - 1, unescape(rest)))
        elif word == "drops":
            drops.append((len(accepted) - 1, unescape(rest).lower()))
        elif word == "reject":
            rejected = int(rest)
        elif word == "closes":
            closes = True
        elif word != "waits":
            raise ValueError(f"{case.id}: no such verdict: {line}")
    rows = tuple((bytes(a), bytes(b), str(c), bytes(d), bytes(e)) for a, b, c, d, e in accepted)  # type: ignore[call-overload]
    return Verdict(rows, tuple(keeps), tuple(drops), rejected, closes)


class RequestBench:
    """A proxy with one upstream that answers every whole request with 200. One driver per case, many runs."""

    def __init__(self, case: Case) -> None:
        limits: dict[str, int] = {}
        trusted: list[str] = []
        trailers = False
        for line in case.setup:
            word, _, rest = line.partition(" ")
            if word == "limit":
                name, value = rest.split()
                limits[name] = int(value)
            elif line == "trusted":
                trusted = [CLIENT_ADDRESS]
            elif line == "trailers":
                trailers = True
            else:
                raise ValueError(f"{case.id}: no such setup: {line}")
        self.wire = Wire(start_message(1, limits=limits, trusted_proxies=trusted, request_trailers=trailers))

    def run(self, pieces: Iterable[bytes]) -> Observation:
        """A client connects, sends `pieces` one by one, and leaves."""
        wire = self.wire
        forwarded: list[Forwarded] = []
        if wire.loop.transports:
            wire.upstream.take()
        client = wire.connect()
        for piece in pieces:
            client.receive(piece)
            self._answer(forwarded)
        statuses = tuple(read_statuses(client.take()))
        is_open = not (client.is_closing() or client.eof_written)
        client.lose()
        wire.settle()
        if wire.logs:
            raise AssertionError(wire.logs)
        return Observation(tuple(forwarded), statuses, is_open)

    def close(self) -> None:
        """End the proxy."""
        self.wire.close()

    def _answer(self, forwarded: list[Forwarded]) -> None:
        wire = self.wire
        if wire.loop.pending:
            wire.settle()
        while wire.loop.transports:
            upstream = wire.upstream
            request = next_request(upstream)
            if request is None:
                return
            forwarded.append(request)
            upstream.receive(ANSWER if request.method == b"HEAD" else ANSWER + b"ok")
            if wire.loop.pending:
                wire.settle()


def next_request(upstream: FakeTransport) -> Forwarded | None:
    """Take the next whole request that was sent to `upstream`; None if there is none yet."""
    data = bytes(upstream.written[upstream.taken :])
    end = data.find(b"\r\n\r\n") + 4
    if end < 4 or upstream.is_closing():
        return None
    match = _HEAD.fullmatch(data, 0, end)
    assert match is not None, f"forwarded: {data[:end]!r}"
    fields = tuple(match[3].split(b"\r\n")[:-1])
    lower = [line.lower() for line in fields]
    lengths = [line.partition(b":")[2].strip() for line in lower if line.startswith(b"content-length:")]
    codings = [line.partition(b":")[2].strip() for line in lower if line.startswith(b"transfer-encoding:")]
    assert len(lengths) + len(codings) <= 1, "the app could frame it in two ways"
    check_forwarded(lower)
    body = trailers = b""
    framing = "none"
    if codings:
        assert codings == [b"chunked"]
        framing = "chunked"
        read = read_chunked(data, end)
        if read is None:
            return None
        body, trailers, end = read
    elif lengths:
        size = int(lengths[0])
        framing = f"length {size}"
        body = data[end : end + size]
        end += size
        if len(body) < size:
            return None
    upstream.taken += end
    return Forwarded(match[1], match[2], framing, fields, body, trailers)


def read_chunked(data: bytes, position: int) -> tuple[bytes, bytes, int] | None:
    """The payload, the trailers and the end of the chunked body at `position`; None while it is
    incomplete."""
    body = b""
    while chunk := _CHUNK.match(data, position):
        start, size = chunk.end(), int(chunk[1], 16)
        if size == 0:
            end = start if data[start : start + 2] == b"\r\n" else data.find(b"\r\n\r\n", start) + 2
            return (body, data[start:end], end + 2) if end >= start else None
        position = start + size + 2
        if len(data) < position:
            return None
        body += data[start : start + size]
        assert data[position - 2 : position] == b"\r\n"
    return None


def check_forwarded(fields: list[bytes]) -> None:
    """Assert what holds for every forwarded request. `fields` are its lines in lower case."""
    names = [line.partition(b":")[0] for line in fields]
    for name in (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"x-request-id"):
        assert names.count(name) == 1, f"{name!r} in {fields}"
    for name in names:
        plain = name.replace(b"_", b"-")
        assert plain not in _NEVER, name
        assert b"_" not in name or not (plain in _FORWARDING or plain.startswith(b"x-forwarded-")), name
    for line in fields:
        assert not line.startswith(_NEVER_FORWARDED), line
        if line.startswith((b"connection:", b"te:", b"upgrade:")):
            assert line in (
                b"connection: te", b"te: trailers", b"connection: upgrade", b"upgrade: websocket",
            )  # fmt: skip


def read_statuses(data: bytes) -> Iterable[int]:
    """The statuses of the responses in `data`, each of which must be whole and delimited by length."""
    while data:
        status = _STATUS.match(data)
        assert status is not None, f"to the client: {data!r}"
        head, _, rest = data.partition(b"\r\n\r\n")
        code = int(status[1])
        length = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
        assert length is not None
        size = int(length[1])
        if rest.startswith(b"HTTP/"):  # the response to HEAD
            size = 0
        if code >= 400:
            assert b"\r\nConnection: close" in head, head
            assert b"\r\nProxy-Status: balancer; error=" in head, head
        yield code
        data = rest[size:]
