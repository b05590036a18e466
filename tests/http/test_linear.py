"""No parser is worse than linear in its input: its instructions are counted, as times vary from run to run.

That does not see C code, so each parser has a time limit as well. Where a machine is too slow for it, four
times the input may take eight times as long, which is far from quadratic.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import thread_time
from types import FrameType
from typing import Any

import pytest

from balancer.errors import MALFORMED_REQUEST, MALFORMED_RESPONSE, ProtocolError
from balancer.http.caching import shared_caching
from balancer.http.chunked import ChunkedDecoder
from balancer.http.cookies import change_cookie, cookie_value, take_cookie
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarded import hops_in
from balancer.http.forwarding import Forwarding
from balancer.http.patience import read_patiently
from balancer.http.request_head import parse_request_head
from balancer.http.response_head import parse_response_head
from balancer.http.via import balancers_in
from balancer.pools.hash_key import hash_key
from tests.corpus.responses_driver import Recorder, Setup
from tests.fakes.wire import Wire, start_message

KIB = 1024
MANY = 1 << 30  # no limit
MOST_SECONDS = 0.04  # for 64 KiB at once
MOST_SECONDS_HEAD = 0.002  # for a head of 64 KiB with 30,000 members
MOST_SECONDS_BYTES = 0.15  # for 16 KiB in 16,384 pieces
TRUSTED = Forwarding(["0.0.0.0/0"])
TABLE_OF_ALL = ["x-forwarded-*"]

unique = count()


def filled(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end


def request(start: bytes, piece: bytes, end: bytes = b"\r\n\r\n") -> Callable[[int], object]:
    """Parses a head in which `piece` is repeated, forwarded with the fields of a trusted proxy."""

    def parse(size: int) -> object:
        lines = b"GET / HTTP/1.1\r\nHost: a\r\nX-New: %d\r\n" % next(unique)
        raw = filled(lines + start, piece, end, size)
        fields = FieldTable(REQUEST_KINDS, TABLE_OF_ALL)
        return lambda: TRUSTED.peer("10.0.0.1").lines(parse_request_head(raw, 8192, MANY, None, fields))

    return parse


def response(start: bytes, piece: bytes, end: bytes = b"\r\n\r\n") -> Callable[[int], object]:
    def parse(size: int) -> object:
        lines = b"HTTP/1.1 200 OK\r\nX-New: %d\r\n" % next(unique)
        raw = filled(lines + start, piece, end, size)
        return lambda: parse_response_head(raw, b"GET", MANY)

    return parse


def inexact(start: bytes, piece: bytes, end: bytes = b"\r\n\r\n") -> Callable[[int], object]:
    def parse(size: int) -> object:
        raw = filled(b"HTTP/1.1  200 OK\r\n" + start, piece, end, size)
        return lambda: read_patiently(raw, b"GET", MANY, MANY)

    return parse


def value(
    read: Callable[[bytes], object], start: bytes, piece: bytes, end: bytes = b""
) -> Callable[[int], object]:
    return lambda size: lambda: read(filled(start, piece, end, size))


def chunked(start: bytes, piece: bytes, end: bytes, patient: bool = False) -> Callable[[int], object]:
    failure = MALFORMED_RESPONSE if patient else MALFORMED_REQUEST

    def parse(size: int) -> object:
        raw = filled(start, piece, end, size)
        return lambda: ChunkedDecoder(failure, MANY, patient=patient).feed(raw)

    return parse


def chunked_by_bytes(start: bytes, piece: bytes, end: bytes) -> Callable[[int], object]:
    def parse(size: int) -> object:
        raw = filled(start, piece, end, size)

        def feed() -> None:
            decoder = ChunkedDecoder(MALFORMED_REQUEST, MANY)
            for at in range(len(raw)):
                decoder.feed(raw[at : at + 1])

        return feed

    return parse


def request_by_bytes(start: bytes, piece: bytes, end: bytes = b"") -> Callable[[int], object]:
    def parse(size: int) -> object:
        raw = filled(start, piece, end, size)
        wire = Wire(start_message(1))
        client = wire.connect()

        def feed() -> None:
            for at in range(len(raw)):
                client.receive(raw[at : at + 1])
            wire.close()

        return feed

    return parse


def response_by_bytes(start: bytes, piece: bytes, end: bytes = b"") -> Callable[[int], object]:
    def parse(size: int) -> object:
        raw = filled(start, piece, end, size)
        bench = Recorder(Setup())
        return lambda: bench.run([raw[at : at + 1] for at in range(len(raw))])

    return parse


def find_by(source: str, start: bytes, piece: bytes, end: bytes) -> Callable[[int], object]:
    key = hash_key(source)

    def parse(size: int) -> object:
        head = parse_request_head(filled(start, piece, end, size), MANY, MANY)
        return lambda: key.of(head, TRUSTED.peer("10.0.0.1"))

    return parse


def take_pin(line: bytes) -> object:
    return take_cookie(line, b"pin")


def change_pin(line: bytes) -> object:
    return change_cookie(line, b"pin", bytes.upper)


def other_names(size: int) -> Callable[[], object]:
    text = b";".join(b"a%d=1" % number for number in range(size // 8))
    return lambda: hops_in(text)


NAMES = b"".join(b"x%d," % number for number in range(40))
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"

AT_ONCE: dict[str, Callable[[int], object]] = {
    "connection of many members": request(b"Connection: ", b"x,"),
    "connection of many lines": request(b"", b"Connection: x\r\n", b"\r\n"),
    "connection of empty members": request(b"Connection: ", b","),
    "connection and as many lines": request(b"Connection: " + NAMES + b"x\r\n", b"x1: \r\n", b"\r\n"),
    "te of many members": request(b"TE: ", b"x,"),
    "te of many lines": request(b"", b"TE: trailers\r\n", b"\r\n"),
    "upgrade of many members": request(b"Upgrade: ", b"x,"),
    "upgrade of many lines": request(b"", b"Upgrade: websocket\r\n", b"\r\n"),
    "via of many members": request(b"Via: ", b"1.1 balancer-01234567,"),
    "via of many lines": request(b"", b"Via: 1.1 balancer-01234567\r\n", b"\r\n"),
    "via of comments": value(balancers_in, b"1.1 balancer-01234567", b"("),
    "via of closed comments": value(balancers_in, b"1.1 balancer-01234567", b"()"),
    "lines of any name": request(b"", b"X: \r\n", b"\r\n"),
    "a long line": request(b"X: ", b"y"),
    "keep-alive": request(b"Keep-Alive: ", b"x,"),
    "transfer-encoding": request(b"Transfer-Encoding: ", b"chunked,"),
    "content-length": request(b"Content-Length: ", b"0"),
    "host": request(b"Host: ", b"%41"),
    "x-forwarded-for of trusted hops": request(b"X-Forwarded-For: ", b"10.0.0.1,"),
    "x-forwarded-for of empty hops": request(b"X-Forwarded-For: ", b","),
    "x-forwarded-for of many lines": request(b"", b"X-Forwarded-For: 10.0.0.1\r\n", b"\r\n"),
    "x-forwarded-for and forwarded": request(b"Forwarded: for=a\r\nX-Forwarded-For: ", b"10.0.0.1,"),
    "x-forwarded-proto": request(b"X-Forwarded-Proto: ", b"https,"),
    "x-forwarded of any name": request(b"", b"X-Forwarded-A: 1\r\n", b"\r\n"),
    "forwarded of trusted hops": request(b"Forwarded: ", b"for=10.0.0.1,"),
    "forwarded of many lines": request(b"", b"Forwarded: for=10.0.0.1\r\n", b"\r\n"),
    "forwarded of one element": value(hops_in, b"", b"a=1;"),
    "forwarded of other names": other_names,
    "forwarded of open quotes": value(hops_in, b"", b'",'),
    "forwarded of backslashes": value(hops_in, b'for="', b"\\", b'"'),
    "forwarded of escaped quotes": value(hops_in, b"", b'\\"'),
    "take a cookie among others": value(take_pin, b"Cookie: pin=1", b";a=b"),
    "take many cookies": value(take_pin, b"Cookie: ", b"pin=;"),
    "take none of one long cookie": value(take_pin, b"Cookie: ", b"xpin="),
    "change many cookies": value(change_pin, b"Cookie: ", b"pin=a;"),
    "change a cookie of many": value(change_pin, b"Cookie: ", b";"),
    "find a cookie": value(lambda text: cookie_value(text, b"pin"), b"", b"a=b; ", b"pin=1"),
    "hash key by header": find_by("header:X-Last", GET, b"X: y\r\n", b"X-Last: 1\r\n\r\n"),
    "hash key by cookie": find_by("cookie:pin", GET + b"Cookie: ", b"a=b;", b"pin=1\r\n\r\n"),
    "hash key by query": find_by("query:q", b"GET /?", b"%71=&", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "cache-control": value(lambda line: shared_caching([line]), b"Cache-Control: ", b"x,"),
    "cache-control of many lines": lambda size: lambda: shared_caching([b"Cache-Control: x"] * (size // 16)),
    "response: connection of many members": response(b"Connection: ", b"x,"),
    "response: connection of many lines": response(b"", b"Connection: x\r\n", b"\r\n"),
    "response: connection and as many lines": response(
        b"Connection: " + NAMES + b"x\r\n", b"x1: \r\n", b"\r\n"
    ),
    "response: upgrade": response(b"Upgrade: ", b"x,"),
    "response: upgrade of many lines": response(b"", b"Upgrade: x\r\n", b"\r\n"),
    "inexact: folds": inexact(b"X: y\r\n", b" z\r\n", b"\r\n"),
    "inexact: blank folds": inexact(b"X: y\r\n", b" \r\n", b"\r\n"),
    "inexact: lines": inexact(b"", b"X : y\r\n", b"\r\n"),
    "inexact: lengths": inexact(b"", b"Content-Length: 5\r\n", b"\r\n"),
    "inexact: lengths in a list": inexact(b"Content-Length: ", b"5,", b"5\r\n\r\n"),
    "inexact: codings": inexact(b"", b"Transfer-Encoding: \r\n", b"\r\n"),
    "inexact: a long name": inexact(b"", b"a"),
    "inexact: blanks before the colon": inexact(b"a", b" ", b":\r\n\r\n"),
    "trailers": chunked(b"0\r\n", b"X:\r\n", b"\r\n"),
    "trailers of an app with folds": chunked(b"0\r\nX: y\r\n", b" z\r\n", b"\r\n", patient=True),
    "chunks of one byte": chunked(b"", b"1\r\na\r\n", b"0\r\n\r\n"),
    "a chunk size of zeros": chunked(b"", b"0", b"1\r\na\r\n"),
}  # fmt: skip
BY_BYTES: dict[str, Callable[[int], object]] = {
    "a target": request_by_bytes(b"GET /", b"a"),
    "a long line": request_by_bytes(GET + b"X: ", b"y"),
    "a long name": request_by_bytes(GET, b"y"),
    "short lines": request_by_bytes(GET, b"X: y\r\n"),
    "members": request_by_bytes(GET + b"Connection: ", b"x,"),
    "response: a reason": response_by_bytes(b"HTTP/1.1 200 ", b"a"),
    "response: a long line": response_by_bytes(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "response: an inexact one": response_by_bytes(b"HTTP/1.1 200 OK\nX: ", b"y"),
    "response: short lines": response_by_bytes(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "chunks": chunked_by_bytes(b"", b"1\r\na\r\n", b""),
    "a chunk": chunked_by_bytes(b"10000000\r\n", b"a", b""),
    "trailers": chunked_by_bytes(b"0\r\n", b"X: y\r\n", b""),
    "a trailer": chunked_by_bytes(b"0\r\nX: ", b"y", b""),
}


@pytest.mark.parametrize("case", AT_ONCE)
def test_a_parser_executes_a_linear_number_of_instructions(case: str) -> None:
    assert_linear(AT_ONCE[case], 2 * KIB)


@pytest.mark.parametrize("case", BY_BYTES)
def test_input_byte_by_byte_is_examined_once(case: str) -> None:
    assert_linear(BY_BYTES[case], KIB // 2)


@pytest.mark.parametrize("case", AT_ONCE)
def test_parsing_64_kib_at_once_stays_below_its_time(case: str) -> None:
    assert_linear_time(AT_ONCE[case], 64 * KIB, MOST_SECONDS)


@pytest.mark.parametrize("case", BY_BYTES)
def test_parsing_16_kib_byte_by_byte_stays_below_its_time(case: str) -> None:
    assert_linear_time(BY_BYTES[case], 16 * KIB, MOST_SECONDS_BYTES)


@pytest.mark.parametrize("make", [request, response], ids=["request", "response"])
def test_a_head_of_30000_members_and_190_lines_costs_less_than_2_ms(
    make: Callable[[bytes, bytes], Callable[[int], object]],
) -> None:
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(190))
    assert seconds(make(lines + b"Connection: ", b"x,"), 64 * KIB) < MOST_SECONDS_HEAD


def assert_linear(make: Callable[[int], object], size: int) -> None:
    """Twice the input executes at most twice the instructions."""
    executed(make(size))  # constant overhead
    once, twice, four_times = (executed(make(size * factor)) for factor in (1, 2, 4))
    assert four_times - twice <= 2.2 * max(0, twice - once) + 500


def assert_linear_time(make: Callable[[int], object], size: int, most: float) -> None:
    """It takes `most` seconds of CPU time, or at most eight times as long as for a quarter of the input."""
    needed = seconds(make, size)
    assert needed < most or needed < 8 * seconds(make, size // 4)


def executed(call: Any) -> int:
    """The number of Python instructions that `call` executes."""
    number = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal number
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        number += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(ProtocolError):
            call()
    finally:
        sys.settrace(before)
    return number


def seconds(make: Callable[[int], object], size: int) -> float:
    """CPU seconds of this thread, the least of three."""
    return min(_seconds(make(size)) for _ in range(3))


def _seconds(call: Any) -> float:
    begun = thread_time()
    with suppress(ProtocolError):
        call()
    return thread_time() - begun
