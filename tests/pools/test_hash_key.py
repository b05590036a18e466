"""Hash keys: equal values have equal keys, and a missing value has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import parse_request_head
from balancer.http.wire import render_request
from balancer.policies.base import NO_KEY
from balancer.pools.hash_key import hash_key


def key(source: str, target: str = "/", *fields: str, client: str = "192.0.2.1") -> int:
    lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields))
    head = parse_request_head(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode(), 1000, 100)
    return hash_key(source).of(head, Forwarding([]).peer(client))


# Two requests (target, fields, client), and whether they must have the same key
Request = tuple[str, list[str], str]
A, B = "192.0.2.1", "192.0.2.2"
PAIRS: dict[str, tuple[str, Request, Request, bool]] = {
    "client, same": ("client_ip", ("/a", [], A), ("/b", [], A), True),
    "client, other": ("client_ip", ("/a", [], A), ("/a", [], B), False),
    "path without query": ("path", ("/a?x=1", [], A), ("/a?x=2", [], B), True),
    "path, other": ("path", ("/a", [], A), ("/b", [], A), False),
    "header, any case of its name": ("header:X-User", ("/", ["x-user: 7"], A), ("/", ["X-USER:7"], B), True),
    "header, other": ("header:X-User", ("/", ["X-User: 7"], A), ("/", ["X-User: 8"], A), False),
    "cookie among others": (
        "cookie:sid",
        ("/", ["Cookie: a=1; sid=xyz; b=2"], A),
        ("/", ["Cookie: sid=xyz"], B),
        True,
    ),
    "cookie, other": ("cookie:sid", ("/", ["Cookie: sid=x"], A), ("/", ["Cookie: sid=y"], A), False),
    "query among others": ("query:user", ("/?a=1&user=7", [], A), ("/x?user=7&b", [], B), True),
    "query, encoded": ("query:user", ("/?user=a%20b", [], A), ("/?user=a+b", [], A), True),
    "query, other": ("query:user", ("/?user=7", [], A), ("/?user=8", [], A), False),
}


@pytest.mark.parametrize("case", PAIRS)
def test_equal_values_have_equal_keys(case: str) -> None:
    source, one, other, same = PAIRS[case]
    keys = [key(source, target, *fields, client=client) for target, fields, client in (one, other)]
    assert (keys[0] == keys[1]) is same
    assert all(0 <= each < 2**64 for each in keys)


MISSING: dict[str, tuple[str, str, list[str]]] = {
    "no such field": ("header:X-User", "/", []),
    "empty field": ("header:X-User", "/", ["X-User:"]),
    "no cookies": ("cookie:sid", "/", []),
    "another cookie": ("cookie:sid", "/", ["Cookie: SID=1; xsid=2; sid"]),
    "no query": ("query:user", "/", []),
    "empty parameter": ("query:user", "/?user=&a=1", []),
    "another parameter": ("query:user", "/?users=7", []),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_value_has_no_key(case: str) -> None:
    source, target, fields = MISSING[case]
    assert key(source, target, *fields) == NO_KEY


@pytest.mark.parametrize("source", ["", "ip", "header:", "cookie", "body:x"])
def test_an_unknown_source_is_an_error(source: str) -> None:
    with pytest.raises(ValueError, match="no source of a hash key"):
        hash_key(source)


@given(value=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1))
def test_a_key_is_the_same_in_every_process(value: str) -> None:
    """A fixed hash instead of Python's: workers and instances must agree."""
    assert key("header:x", "/", f"x: {value}") == key("cookie:x", "/", f"Cookie: x={value}")
    assert key("header:x", "/", "x: app") == 0xCF78DF9A35BD0126


@pytest.mark.parametrize("target", ["/?%zz=1&user=%f", "/?&&&=&user", "/?user=%00"])
def test_odd_queries_are_handled(target: str) -> None:
    assert key("query:user", target) >= NO_KEY


@pytest.mark.parametrize("trusted", [[], ["192.0.2.1"]], ids=["untrusted", "trusted"])
@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "X-Forwarded-Prefix", "X-User"]
)
def test_a_header_key_is_computed_from_the_fields_the_app_gets_also_for_a_repeated_head(
    name: str, trusted: list[str]
) -> None:
    """Fields added by proxies are not among a head's own lines, but among those that are sent."""
    peer = Forwarding(trusted).peer("192.0.2.1")
    by = hash_key(f"header:{name}").of
    block = (
        b"Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: b\r\nForwarded: for=2.2.2.2\r\n"
        b"X-Forwarded-Prefix: /p\r\nX-User: 7\r\n\r\n"
    )
    table = FieldTable(REQUEST_KINDS, ["x-forwarded-*"])
    head = parse_request_head(b"GET /1 HTTP/1.1\r\n" + block, 1000, 100, None, table)
    first = by(head, peer)
    sent = render_request(head, peer, b"id", b"b").split(b"\r\n")
    again = parse_request_head(b"GET /2 HTTP/1.1\r\n" + block, 1000, 100, head, table)
    assert again is head
    assert by(again, peer) == first
    values = [line.partition(b": ")[2] for line in sent if line.startswith(name.encode() + b": ")]
    assert first == (key("header:X-User", "/", f"X-User: {values[0].decode()}") if values else NO_KEY)
    assert (first == NO_KEY) is (name == "X-Forwarded-Prefix" and not trusted)


@pytest.mark.parametrize("length", [1, 64, 65, 500], ids=lambda length: f"{length} bytes")
def test_a_remembered_key_is_that_of_its_value(length: int) -> None:
    """Also after so many other values that it has been forgotten."""
    by = hash_key("header:x")
    peer = Forwarding([]).peer("192.0.2.1")

    def of(value: str) -> int:
        head = parse_request_head(f"GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n".encode(), 1000, 100)
        return by.of(head, peer)

    value = "v" * length
    expected = key("header:x", "/", f"X: {value}")
    assert [of(value), of(value)] == [expected, expected]
    others = {of(f"{number}") for number in range(5000)}
    assert len(others) == 5000
    assert of(value) == expected
