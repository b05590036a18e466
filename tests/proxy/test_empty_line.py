"""An empty line after a body: old clients send one (RFC 9112 section 2.2)."""

from tests.fakes.wire import Wire


def test_an_empty_line_after_a_body_begins_no_head() -> None:
    wire = Wire()
    client = wire.connect()
    client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\r\n")
    wire.settle()
    wire.upstream.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.take()
    wire.advance(11)
    assert client.take() == b""
    wire.proxy.drain()
    wire.advance(1.3)
    assert client.lost
    wire.close()
