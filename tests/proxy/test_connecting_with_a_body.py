"""A request whose body is still arriving while its upstream is being connected."""

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, status_of

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"


def test_reading_resumes_when_an_idle_connection_takes_over(make_harness: MakeHarness) -> None:
    harness = make_harness(2, policy="round_robin")
    harness.warm()  # to the first
    harness.hold(2)
    client = harness.ask(UPLOAD)  # to the second, which does not answer
    client.receive(b"ab")
    client.receive(b"cd")
    assert not client.is_reading()
    harness.loop.dials[-1].fail(ConnectionRefusedError())
    harness.settle()
    assert client.is_reading()
    client.receive(b"ef")
    assert harness.loop.transports[0].take().endswith(b"abcdef")
    harness.loop.transports[0].receive(OK)
    harness.settle()
    assert client.take() == OK
    harness.accept(2)


def test_an_idle_connection_to_another_upstream_wins_the_race_at_once(make_harness: MakeHarness) -> None:
    harness = make_harness(2, policy="round_robin")
    harness.warm()
    harness.hold(2)
    client = harness.ask()
    harness.advance(0.26)
    assert len(harness.loop.dials) == 2  # none was needed for the race
    assert harness.retries() == {"connect_race": 1}
    harness.loop.transports[0].receive(OK)
    harness.settle()
    assert client.take() == OK
    assert harness.inflight == [0, 0]
    harness.accept(2)


def test_a_bug_in_a_dial_is_logged_and_answered_500(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.expects_bug = True
    harness.refuse(1, 2, error=RuntimeError("a bug planted in the dial"))
    client = harness.ask()
    assert status_of(client.take()) == 500
    assert harness.logs[0][0] == "error"
    assert "a bug planted in the dial" in (harness.logs[0][2] or "")
    assert harness.inflight == [0, 0]
    harness.accept(1, 2)
    harness.ask(GET)
    harness.answer()


def test_a_slow_reader_gets_its_last_response_whole(make_harness: MakeHarness) -> None:
    """`Connection: close`, and bytes followed the request: the connection lingers."""
    harness = make_harness(1)
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\r\n")
    client.buffered = 50_000
    harness.answer()
    assert client.is_closing()  # an empty line alone is no reason to linger: written bytes go out


def test_a_slow_reader_gets_its_last_response_whole_also_if_the_connection_lingers(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(1)
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nmore")
    client.buffered = 50_000
    harness.answer()
    assert client.eof_written
    for left in range(40_000, 0, -10_000):
        harness.advance(5.5)
        client.buffered = left
    assert not client.is_closing()
    client.buffered = 0
    harness.advance(61)
    assert not client.aborted
    harness.advance(5.5)
    assert client.is_closing()
