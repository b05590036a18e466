"""What a client receives of every raw response of the corpus, through the whole proxy."""

import re
import socket

import pytest

from tests.corpus.cases import Case, read_cases
from tests.corpus.requests_driver import read_chunked
from tests.corpus.responses_driver import Setup, end, setup_of, verdict_of
from tests.fakes.wire import FakeTransport, Wire, start_message

CASES = [case for case in read_cases("responses.txt") if "upgrading" not in case.setup]


def exchange(wire: Wire, setup: Setup, sent: bytes) -> FakeTransport:
    """The client end after one request that was answered with `sent`."""
    client = wire.connect()
    version = b"HTTP/1.0\r\nConnection: keep-alive" if setup.client_minor == 0 else b"HTTP/1.1"
    client.receive(b"%b / %b\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n" % (setup.method, version))
    wire.settle()
    wire.upstream.receive(sent)
    end(wire.upstream, setup.end)
    wire.settle()
    return client


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_each_response_reaches_the_client_with_its_verdict(case: Case) -> None:
    setup, wanted = setup_of(case), verdict_of(case).response
    limits = {"header_bytes": setup.header_bytes, "header_count": setup.header_count}
    wire = Wire(start_message(1, limits=limits))
    client = exchange(wire, setup, case.sent)
    data = client.take()
    for status in wanted.informational:
        informational, _, data = data.partition(b"\r\n\r\n")
        assert informational.startswith(b"HTTP/1.1 %d " % status)
    head, _, body = data.partition(b"\r\n\r\n")
    if wanted.failure and not wanted.begun:
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"\r\nProxy-Status: balancer; error=" in head
        assert wire.upstream.is_closing()
    elif wanted.failure:  # a reset: a FIN could pass for the end of the body
        assert client.aborted
        assert not client.eof_written
        assert [option[:2] for option in client.socket.options] == [(socket.SOL_SOCKET, socket.SO_LINGER)]
        assert wire.upstream.is_closing()
    elif wanted.ended:
        assert head.startswith(b"HTTP/1.1 %d " % wanted.status)
        assert payload(setup, head, body) == (wanted.body, wanted.trailers)
        assert wire.upstream.is_closing() is (bool(setup.end) or not wanted.reusable)
    assert wire.logs == []
    wire.close()


def payload(setup: Setup, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Body and trailers as the client must parse them."""
    if setup.method == b"HEAD" or re.match(rb"HTTP/1\.1 (204|304)", head):
        return body, b""
    if re.search(rb"\r\ntransfer-encoding: chunked", head, re.IGNORECASE):
        read = read_chunked(body, 0)
        assert read is not None
        assert read[2] == len(body)
        return read[:2]
    length = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
    assert length is None or int(length[1]) == len(body)
    return body, b""
