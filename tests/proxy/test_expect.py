"""`Expect: 100-continue` to an upstream that sends nothing: its silence, not the client's."""

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import status_of


def test_a_timeout_before_the_body_is_the_upstreams_fault(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    harness.advance(61)
    assert status_of(client.take()) == 504
    assert harness.logged()["reason"] == "first_byte_timeout"


def test_a_timeout_within_the_body_is_the_clients_fault(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nx")
    harness.advance(61)
    assert status_of(client.take()) == 408
