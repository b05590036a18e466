"""The balancers that a request has passed, by its Via (RFC 9110 section 7.6.3)."""

import pytest

from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.via import balancers_in, via_lines

OURS = b"balancer-0123abcd"

NAMED = [
    pytest.param(b"1.1 balancer-0123abcd", id="alone"),
    pytest.param(b"1.0 balancer-0123abcd", id="for an HTTP/1.0 client"),
    pytest.param(b"HTTP/1.1 balancer-0123abcd", id="with the protocol's name"),
    pytest.param(b"2 balancer-0123abcd", id="by HTTP/2 of a proxy that rewrites"),
    pytest.param(b"1.1 Balancer-0123ABCD", id="in other case"),
    pytest.param(b"1.1\t balancer-0123abcd \t", id="white space"),
    pytest.param(b"1.1 balancer-0123abcd:8080", id="with a port"),
    pytest.param(b"1.1 cdn, 1.1 balancer-0123abcd,1.1 nginx", id="in the middle of a list"),
    pytest.param(b",, 1.1 balancer-0123abcd,", id="empty members"),
    pytest.param(b"1.1 balancer-0123abcd (behind, a wall)", id="with a comment"),
    pytest.param(b"1.1 cdn (a (nested, one) here), 1.1 balancer-0123abcd", id="after a nested comment"),
    pytest.param(b"1.1 cdn (a \\) in it), 1.1 balancer-0123abcd", id="after a quoted bracket"),
    pytest.param(b"1.1 cdn (open, 1.1 balancer-0123abcd", id="after a comment that is not closed"),
    pytest.param(b"1.1 cdn ), 1.1 balancer-0123abcd (", id="after brackets the wrong way round"),
]
NOT_NAMED = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"1.1 balancer", id="the name of earlier versions"),
    pytest.param(b"balancer-0123abcd", id="no protocol"),
    pytest.param(b"1.1 cdn (1.1 balancer-0123abcd)", id="in a comment"),
    pytest.param(b"1.1 cdn (a, 1.1 balancer-0123abcd, b)", id="in a comment with commas"),
    pytest.param(b"1.1 balancer-0123abcdef", id="longer"),
    pytest.param(b"1.1 balancer-0123abc", id="shorter"),
    pytest.param(b"1.1 my-balancer-0123abcd", id="the end of another name"),
    pytest.param(b"1.1 balancer-0123abcd.example", id="the beginning of another name"),
    pytest.param(b"1.1 balancer-0123abcx", id="not of our making"),
    pytest.param(b"1.1 cdn balancer-0123abcd", id="behind another name"),
]


@pytest.mark.parametrize("value", NAMED)
def test_a_balancer_is_found_in_via(value: bytes) -> None:
    assert balancers_in(value) == [OURS]


@pytest.mark.parametrize("value", NOT_NAMED)
def test_look_alikes_of_a_balancer_are_not_found(value: bytes) -> None:
    assert balancers_in(value) == []


@pytest.mark.parametrize("value", [b"(" * 30000, b"()" * 15000, b"(" * 15000 + b")" * 15000])
def test_a_long_comment_is_parsed_in_linear_time(value: bytes) -> None:
    # A quadratic parser would take minutes.
    assert balancers_in(b"1.1 x " + value + b", 1.1 " + OURS) == [OURS]


def head(*lines: bytes, before: RequestHead | None = None) -> RequestHead:
    return parse_request_head(
        b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""]), 65536, 100, before
    )


def test_several_via_lines_are_one_list_and_all_are_forwarded() -> None:
    lines = [b"Via: 1.1 balancer-00000001, 1.1 cdn", b"VIA: 1.1 x", b"via: 1.0 balancer-00000002"]
    parsed = head(*lines)
    assert parsed.balancers == [b"balancer-00000001", b"balancer-00000002"]
    assert parsed.lines == [b"Host: a", *lines]


def test_a_line_means_the_same_each_time() -> None:
    for _ in range(3):
        assert head(b"Via: 1.1 balancer-00000001").balancers == [b"balancer-00000001"]
        assert head(b"Via: 1.1 cdn").balancers is None
        assert head().balancers is None


def test_a_repeated_head_has_passed_the_same_balancers() -> None:
    first = head(b"Via: 1.1 balancer-00000001")
    again = head(b"Via: 1.1 balancer-00000001", before=first)
    assert again is first
    assert again.balancers == [b"balancer-00000001"]


def test_a_client_cannot_remove_via_by_connection() -> None:
    parsed = head(b"Connection: via", b"Via: 1.1 balancer-00000001")
    assert parsed.balancers == [b"balancer-00000001"]
    assert b"Via: 1.1 balancer-00000001" in parsed.lines


def test_a_name_produces_lines_in_which_it_is_found() -> None:
    for line in via_lines(OURS.decode()):
        assert balancers_in(line.removeprefix(b"Via: ").removesuffix(b"\r\n")) == [OURS]
    assert via_lines("") == (b"", b"")
