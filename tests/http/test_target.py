"""Targets in absolute form, and valid values of Host."""

import pytest

from balancer.errors import MALFORMED_REQUEST, ProtocolError
from balancer.http.target import check_host, split_absolute


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        (b"http://a/b?c", b"GET", (b"a", b"/b?c")),
        (b"http://a", b"GET", (b"a", b"/")),
        (b"http://a?c", b"GET", (b"a", b"/?c")),
        (b"HtTpS://a:443/", b"GET", (b"a:443", b"/")),
        (b"http://[::1]:8/x", b"GET", (b"[::1]:8", b"/x")),
        (b"http://a//b", b"GET", (b"a", b"//b")),
        (b"http://a/@b", b"GET", (b"a", b"/@b")),
        (b"http://a?@b", b"GET", (b"a", b"/?@b")),
        (b"http://a", b"OPTIONS", (b"a", b"*")),
        (b"http://a/", b"OPTIONS", (b"a", b"/")),
        (b"http://a?c", b"OPTIONS", (b"a", b"/?c")),
    ],
)
def test_targets_are_split(target: bytes, method: bytes, expected: tuple[bytes, bytes]) -> None:
    assert split_absolute(target, method) == expected


@pytest.mark.parametrize(
    "target",
    [b"*", b"a:80", b"http:/a", b"http:a", b"http//a", b"http://", b"http:///x", b"http://?x", b"http://:80/",
     b"http://u@a/", b"http://u:p@a/", b"http://@a/", b"ftp://a/", b"ws://a/", b"httpx://a/", b"xhttp://a/",
     b"http://a\\b/", b"http://a:b/", b"http://[::1/", b"http://a|b/", b"?x", b"x"],
)  # fmt: skip
def test_invalid_targets_are_refused(target: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        split_absolute(target, b"GET")
    assert caught.value.failure is MALFORMED_REQUEST


@pytest.mark.parametrize(
    "host",
    [b"a", b"A.example", b"a.example:80", b"a:", b"127.0.0.1", b"127.0.0.1:8080", b"[::1]", b"[::1]:80",
     b"[::ffff:1.2.3.4]", b"my_app", b"x--y", b"%41", b"a.", b"a!$&'()*+,;=~b"],
)  # fmt: skip
def test_valid_hosts_are_accepted(host: bytes) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [b"", b" ", b"a b", b"a/b", b"a?b", b"a#b", b"a@b", b"a\\b", b"a:b", b"a:80:80", b"a:+80", b"a:-1",
     b":80", b"a:123456", b"::1", b"[]", b"[:", b"[::1", b"::1]", b"[::1]a", b"[::1]:x", b"[g::1]",
     b"[fe80::1%25e]", b"%", b"%4", b"%zz", b"\xe9", b"a\x00", b"a\x7f", b"a\n", b"a\r\nX: y", b'"a"', b"<a>",
     b"a|b", b"http://a"],
)  # fmt: skip
def test_invalid_hosts_are_refused(host: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_host(host)
    assert caught.value.failure is MALFORMED_REQUEST
