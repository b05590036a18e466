"""The balancer's sticky cookie: the app does not see it, and which responses carry it."""

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, body_of, head_of, status_of
from tests.proxy.sticky_session import OWN, Session, counted, given, states, token_in, tokens


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(3, sticky=OWN)


# --- what the app sees


def test_the_app_does_not_see_the_balancers_cookie(harness: Harness) -> None:
    token = tokens(harness, 3)[0]
    session = Session(harness)
    for cookie, forwarded in (
        (b"pin=" + token, []),
        (b"a=1; pin=" + token, [b"Cookie: a=1"]),
        (b"pin=%b; a=1" % token, [b"Cookie: a=1"]),
        (b"a=\xe4;b=\"x y\"", [b'Cookie: a=\xe4;b="x y"']),
    ):  # fmt: skip
        session.send(cookie)
        head = head_of(session.serving.take())
        assert [line for line in head if line.lower().startswith(b"cookie")] == forwarded
        session.serving.receive(OK)
        session.client.take()


def test_repeated_heads_each_get_their_own_pin(harness: Harness) -> None:
    """The second of two equal heads on a connection is not parsed again: it must keep its own pin."""
    one, two, _ = tokens(harness, 3)
    session = Session(harness)
    for cookie, server, forwarded in (
        (b"a=1; pin=" + one, 1, b"Cookie: a=1"),
        (b"a=1; pin=" + one, 1, b"Cookie: a=1"),
        (b"a=1; pin=" + two, 2, b"Cookie: a=1"),
        (b"a=1; pin=" + two, 2, b"Cookie: a=1"),
        (b"a=2; pin=" + two, 2, b"Cookie: a=2"),
        (b"a=1; pin=" + one, 1, b"Cookie: a=1"),
        (b"pin=" + one, 1, None),
        (b"pin=" + one, 1, None),
        (b"a=1; pin=" + one, 1, b"Cookie: a=1"),
    ):
        session.send(cookie)
        assert session.server == server
        lines = [line for line in head_of(session.serving.take()) if line.startswith(b"Cookie")]
        assert lines == ([] if forwarded is None else [forwarded])
        session.serving.receive(OK)
        assert session.client.take() == OK


def test_repeated_heads_follow_changes_of_state(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    session = Session(harness)
    for changes, expected in (({}, True), ({2: {"causes": ["active_check"]}}, False), ({}, True)):
        states(harness, changes)
        session.send(b"pin=" + token)
        assert (session.server == 2) is expected
        session.serving.receive(OK)
        assert bool(given(session.client.take())) is not expected


def test_repeated_heads_of_http_1_0(harness: Harness) -> None:
    """A head without Host keeps its lines instead of their rendering."""
    token = tokens(harness, 3)[1]
    session = Session(harness)
    for _ in range(2):
        session.client.receive(
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: a=1; pin=%b\r\n\r\n" % token
        )
        harness.settle()
        assert session.server == 2
        assert b"Cookie: a=1\r\n" in session.serving.take()
        session.serving.receive(OK)
        assert given(session.client.take()) == []


def test_a_head_too_large_to_be_remembered(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    session = Session(harness)
    for _ in range(2):
        session.send(b"pin=%b; a=%b" % (token, b"x" * 2000))
        assert session.server == 2
        assert b"Cookie: a=" in session.serving.take()
        session.serving.receive(OK)
        assert session.client.take() == OK


# --- which responses carry the cookie

_LENGTH = b"Date: x\r\nContent-Length: 2\r\n"
PINNING = {
    "200": b"HTTP/1.1 200 OK\r\n" + _LENGTH + b"\r\nok",
    "404": b"HTTP/1.1 404 Not Found\r\n" + _LENGTH + b"\r\nok",
    "500": b"HTTP/1.1 500 Oh\r\n" + _LENGTH + b"\r\nok",
    "304": b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nETag: y\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "the app's own cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2; pin=3\r\n"
    + _LENGTH
    + b"\r\nok",
    "not for shared caches": b"HTTP/1.1 200 OK\r\nCache-Control: private, max-age=60\r\n"
    + _LENGTH
    + b"\r\nok",
    "for all, with a cookie": b"HTTP/1.1 200 OK\r\nCache-Control: public\r\nSet-Cookie: a=1\r\n"
    + _LENGTH
    + b"\r\nok",
}


@pytest.mark.parametrize("case", PINNING)
def test_a_final_response_pins(harness: Harness, case: str) -> None:
    response = Session(harness).ask(response=PINNING[case])
    lines = head_of(response)
    assert sum(line.startswith(b"Set-Cookie: pin=") for line in lines) == 1
    own = head_of(PINNING[case])
    assert [line for line in lines if line in own] == own
    said = any(line.startswith((b"Cache-Control", b"Set-Cookie", b"set-cookie")) for line in own)
    assert (b"Cache-Control: private" in lines) is not said
    assert counted(harness) == {"new": 1}


NOT_PINNING = {
    "public": b"Cache-Control: public, max-age=31536000, immutable\r\n",
    "an age": b"Cache-Control: max-age=60\r\n",
    "a cookie of the same name": b"Set-Cookie: pin=theirs; Path=/\r\n",
}


@pytest.mark.parametrize("case", NOT_PINNING)
def test_a_cacheable_response_or_one_with_such_a_cookie_does_not_pin(harness: Harness, case: str) -> None:
    response = b"HTTP/1.1 200 OK\r\n" + NOT_PINNING[case] + _LENGTH + b"\r\nok"
    assert Session(harness).ask(response=response) == response
    assert counted(harness) == {}


def test_a_response_to_head_pins_too(harness: Harness) -> None:
    response = Session(harness).ask(method=b"HEAD", response=b"HTTP/1.1 200 OK\r\n" + _LENGTH + b"\r\n")
    assert len(given(response)) == 1


def test_informational_responses_do_not_pin(harness: Harness) -> None:
    session = Session(harness)
    session.send()
    session.serving.receive(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert session.client.take() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    session.serving.receive(OK)
    assert len(given(session.client.take())) == 1
    assert counted(harness) == {"new": 1}


def test_an_upgrade_pins(harness: Harness) -> None:
    session = Session(harness)
    session.send(more=b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    number = session.server
    session.serving.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    response = session.client.take()
    token = token_in(response)
    assert b"Cache-Control" not in response
    session.client.lose()
    harness.settle()
    other = Session(harness)
    other.send(b"pin=" + token)
    assert other.server == number
    other.serving.receive(OK)


def test_local_errors_do_not_pin(make_harness: MakeHarness) -> None:
    harness = make_harness(1, sticky=OWN)
    harness.refuse(1)
    session = Session(harness)
    session.send()
    response = session.client.take()
    assert (status_of(response), given(response)) == (502, [])
    assert counted(harness) == {}


def test_pipelined_requests_each_have_their_own_pin(harness: Harness) -> None:
    one, two, _ = tokens(harness, 3)
    session = Session(harness)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: pin=%b\r\n\r\n"
    session.client.receive(request % one + request % two + request % one)
    served = []
    for _ in range(3):
        harness.settle()
        served.append(session.server)
        session.serving.receive(OK)
    assert served == [1, 2, 1]
    assert session.client.take() == OK * 3


def test_body_and_length_are_unchanged(harness: Harness) -> None:
    assert body_of(Session(harness).ask()) == b"ok"
