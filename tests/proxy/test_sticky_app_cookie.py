"""Sticky sessions by the app's own cookie: a token in front of its value, which the app does not see."""

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, head_of
from tests.proxy.sticky_session import APP, Session, counted, given, states


@pytest.fixture
def app_harness(make_harness: MakeHarness) -> Harness:
    return make_harness(3, sticky=APP)


LOGIN = b"HTTP/1.1 200 OK\r\nDate: x\r\nSet-Cookie: SID=abc; Path=/\r\nContent-Length: 2\r\n\r\nok"


def login(harness: Harness) -> tuple[Session, int, bytes]:
    """A session, the upstream that created it, and the cookie's value."""
    session = Session(harness)
    session.send()
    number = session.server
    session.serving.receive(LOGIN)
    (line,) = given(session.client.take())
    assert line.startswith(b"Set-Cookie: SID=")
    assert line.endswith(b"~abc; Path=/")
    return session, number, line[16:].partition(b";")[0]


def test_app_cookie_gets_a_token_that_the_app_does_not_see(app_harness: Harness) -> None:
    session, number, value = login(app_harness)
    for _ in range(3):
        session.send(b"a=1; SID=%b;b=2" % value)
        assert session.server == number
        assert b"Cookie: a=1; SID=abc;b=2\r\n" in session.serving.take()
        session.serving.receive(OK)
        assert session.client.take() == OK
    assert counted(app_harness) == {"new": 1, "hit": 3}


UNPINNED = {
    "no cookie": b"",
    "another cookie": b"a=1",
    "a value without a token": b"SID=abc",
    "a value with its own ~": b"SID=abc~def",
    "a token in another cookie": b"XSID=AAAAAAAAAAAAAAAAAAAAAA~abc",
}


@pytest.mark.parametrize("case", UNPINNED)
def test_app_cookie_without_a_token_is_not_pinned_and_unchanged(app_harness: Harness, case: str) -> None:
    session = Session(app_harness)
    session.send(UNPINNED[case])
    cookie = b"Cookie: %b\r\n" % UNPINNED[case] if UNPINNED[case] else b""
    assert cookie in session.serving.take()
    session.serving.receive(OK)
    assert session.client.take() == OK
    assert counted(app_harness) == {}


def test_app_cookie_with_a_stale_token_reaches_the_app(app_harness: Harness) -> None:
    session = Session(app_harness)
    session.send(b"SID=AAAAAAAAAAAAAAAAAAAAAA~abc")
    assert b"Cookie: SID=abc\r\n" in session.serving.take()
    session.serving.receive(OK)
    assert session.client.take() == OK
    assert counted(app_harness) == {"invalid": 1}


def test_app_cookie_that_is_set_again_pins_to_the_upstream_that_set_it(app_harness: Harness) -> None:
    session, number, value = login(app_harness)
    states(app_harness, {number: {"causes": ["active_check"]}})
    session.send(b"SID=" + value)
    other = session.server
    assert other != number
    session.serving.receive(LOGIN)
    (line,) = given(session.client.take())
    new = line[16:].partition(b";")[0]
    assert counted(app_harness) == {"new": 1, "repinned": 1}
    states(app_harness, {})
    session.send(b"SID=" + new)
    assert session.server == other
    session.serving.receive(LOGIN)  # on a hit as well
    assert given(session.client.take()) == [line]


SET_LINES = {
    "quoted": (b'Set-Cookie: SID="abc"; Path=/', b'Set-Cookie: SID="T~abc"; Path=/'),
    "in lower case": (b"set-cookie: SID=abc", b"set-cookie: SID=T~abc"),
    "emptied": (b"Set-Cookie: SID=; Max-Age=0", b"Set-Cookie: SID=; Max-Age=0"),
    "another's": (b"Set-Cookie: OSID=abc", b"Set-Cookie: OSID=abc"),
}


@pytest.mark.parametrize("case", SET_LINES)
def test_app_cookie_in_a_response(app_harness: Harness, case: str) -> None:
    sent, expected = SET_LINES[case]
    response = Session(app_harness).ask(response=LOGIN.replace(b"Set-Cookie: SID=abc; Path=/", sent))
    (line,) = [line for line in head_of(response) if b"et-" in line]
    prefix, _, rest = expected.partition(b"T~")
    assert line.startswith(prefix)
    assert line.endswith(rest)
    assert len(line) == len(expected) + (21 if b"T~" in expected else 0)


def test_app_cookie_in_quotes_is_recognised(app_harness: Harness) -> None:
    session = Session(app_harness)
    response = session.ask(response=LOGIN.replace(b"SID=abc", b'SID="abc"'))
    value = given(response)[0][16:].partition(b";")[0]
    session.send(b"SID=" + value)
    assert b'Cookie: SID="abc"\r\n' in session.serving.take()
    session.serving.receive(OK)
    assert counted(app_harness) == {"new": 1, "hit": 1}
