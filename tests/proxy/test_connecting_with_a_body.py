"""A request whose body is still coming, while its upstream is being found."""

from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, status_of

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"


def test_the_client_is_read_again_when_an_idle_connection_takes_over(make_stage: MakeStage) -> None:
    stage = make_stage(2, policy="round_robin")
    stage.warm()  # to the first
    stage.hold(2)
    client = stage.ask(UPLOAD)  # to the second, who does not answer
    client.receive(b"ab")
    client.receive(b"cd")
    assert not client.is_reading()
    stage.loop.dials[-1].fail(ConnectionRefusedError())
    stage.settle()
    assert client.is_reading()
    client.receive(b"ef")
    assert stage.loop.transports[0].take().endswith(b"abcdef")
    stage.loop.transports[0].receive(OK)
    stage.settle()
    assert client.take() == OK
    stage.accept(2)


def test_an_idle_connection_elsewhere_wins_the_race_at_once(make_stage: MakeStage) -> None:
    stage = make_stage(2, policy="round_robin")
    stage.warm()
    stage.hold(2)
    client = stage.ask()
    stage.advance(0.26)
    assert len(stage.loop.dials) == 2  # none was needed for the race
    assert stage.retries() == {"connect_race": 1}
    stage.loop.transports[0].receive(OK)
    stage.settle()
    assert client.take() == OK
    assert stage.inflight == [0, 0]
    stage.accept(2)


def test_a_bug_in_a_dial_is_logged_and_answered_500(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.expects_bug = True
    stage.refuse(1, 2, error=RuntimeError("a bug planted in the dial"))
    client = stage.ask()
    assert status_of(client.take()) == 500
    assert stage.logs[0][0] == "error"
    assert "a bug planted in the dial" in (stage.logs[0][2] or "")
    assert stage.inflight == [0, 0]
    stage.accept(1, 2)
    stage.ask(GET)
    stage.answer()


def test_a_slow_reader_gets_its_last_response_whole(make_stage: MakeStage) -> None:
    """`Connection: close`, and something came after the request: the connection lingers."""
    stage = make_stage(1)
    client = stage.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\r\n")
    client.buffered = 50_000
    stage.answer()
    assert client.is_closing()  # the empty line alone is no reason to linger: what is written goes out


def test_a_slow_reader_gets_its_last_response_whole_also_where_the_connection_lingers(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(1)
    client = stage.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nmore")
    client.buffered = 50_000
    stage.answer()
    assert client.eof_written
    for left in range(40_000, 0, -10_000):
        stage.advance(5.5)
        client.buffered = left
    assert not client.is_closing()
    client.buffered = 0
    stage.advance(61)
    assert not client.aborted
    stage.advance(5.5)
    assert client.is_closing()
