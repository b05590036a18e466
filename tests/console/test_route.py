"""`balancer route`: the explanation of one request."""

from collections.abc import Mapping, Sequence
from io import StringIO
from types import MappingProxyType

import pytest
from rich.console import Console

from balancer.config.loader import load
from balancer.console.route import explain
from balancer.errors import OperatorError
from balancer.runtime.blueprint import instance_spec

ROUTES = """[
    {"match": {"path_prefix": "/api", "headers": {"X-Beta": "*"}}, "pool": "api", "strip_prefix": true,
     "request_headers": {"set": {"X-Client": "$client_ip"}}, "response_headers": {"remove": "Server"}},
    {"match": {"host": "*.old.example"}, "redirect": "https"},
    {"match": {"path": "/down"}, "respond": {"status": 503, "text": "Back soon."}},
    "/shop=default"
]"""


def explained(
    url: str,
    fields: Sequence[str] = (),
    method: str = "GET",
    settings: Mapping[str, str] = MappingProxyType({}),
    client: str = "10.0.0.7",
) -> list[str]:
    environ = {
        "BALANCER_UPSTREAMS": "w:80",
        "BALANCER_POOLS__API__UPSTREAMS": "a:80",
        "BALANCER_ROUTES": ROUTES,
        "BALANCER_TRUSTED_PROXIES": "10.0.0.0/8",
        **settings,
    }
    spec = instance_spec(load(environ), via="lb", max_connections=10).worker
    output = StringIO()
    explain(spec, method, url, fields, client, Console(file=output, width=200))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_it_shows_the_route_and_what_the_app_gets() -> None:
    lines = explained("https://shop.example/api/x?y=1", ["X-Beta: 1", "X-Forwarded-For: 198.51.100.9"])
    assert lines[:4] == [
        "route         api, number 1: path below /api, header X-Beta present",
        "pool          api, policy least_connections",
        "the app gets  GET /x?y=1 HTTP/1.1",
        "              Host: shop.example",
    ]
    assert "              X-Forwarded-Prefix: /api" in lines
    assert "              X-Client: 198.51.100.9" in lines
    assert lines[-1] == "its response  remove Server"


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        (
            "http://a.old.example/b",
            [
                "route         redirect, number 2: host *.old.example, scheme not https",
                "answer        308 Permanent Redirect, made here, with a body of 0 bytes",
                "              Content-Length: 0",
                "              Location: https://a.old.example/b",
            ],
        ),
        ("x/api/y", ["route         none of 4 matches", "answer        404. No app sees it."]),
        (
            "x/shop/..%2fapi",
            [
                "answer        400: The request is not valid HTTP/1.1.",
                "              the path has a dot segment that is hidden by an encoded slash or a parameter. "
                "No app sees it.",
            ],
        ),
    ],
)
def test_it_shows_what_is_answered_here(url: str, lines: list[str]) -> None:
    assert explained(url) == lines


def test_https_ends_at_a_trusted_proxy_which_says_so() -> None:
    assert explained("https://a.old.example/b") == explained("a.old.example/b", ["X-Forwarded-Proto: https"])
    assert explained("https://a.old.example/b")[0] == "route         none of 4 matches"
    assert "              X-Forwarded-Proto: https" in explained("https://a.old.example/shop")


def test_a_client_that_is_no_trusted_proxy_speaks_http() -> None:
    lines = explained("https://a.old.example/b", client="192.0.2.1")
    assert lines[:2] == [
        "scheme        http to the balancer, which has no TLS: 192.0.2.1 is not among TRUSTED_PROXIES, which "
        "say what clients speak",
        "route         redirect, number 2: host *.old.example, scheme not https",
    ]


def test_a_name_is_sent_in_the_form_of_dns() -> None:
    assert "              Host: xn--mnchen-3ya.example:8443" in explained("https://münchen.example:8443/shop")
    with pytest.raises(OperatorError, match=r"straße.example is not ASCII, as Host is; write the form"):
        explained("https://straße.example/shop")


def test_a_client_has_an_ip_address() -> None:
    with pytest.raises(OperatorError, match="--client: nonsense is no IP address; write, for example, 192"):
        explained("x/shop", client="nonsense")


def test_it_shows_the_normal_form_of_a_path() -> None:
    assert explained("x/a/../shop/%61")[:2] == [
        "path          /shop/a, the normal form of /a/../shop/%61",
        "route         default, number 4: path below /shop",
    ]


SPLIT = {
    "BALANCER_POOLS__STABLE__UPSTREAMS": "s:80",
    "BALANCER_POOLS__CANARY__UPSTREAMS": "c:80",
    "BALANCER_SPLIT__SECRET": "of the test",
}
FALLBACK = '[{"name": "web", "split": {"sides": {"stable": 50, "canary": 50}, "fallback": true}}]'
FORWARDED, ADDRESS = "X-Forwarded-For: 198.51.100.{}", "the client's address, 198.51.100.{}"


@pytest.mark.parametrize(
    ("key", "fields", "how"),
    [
        pytest.param("header:X-User", ["X-User: {}"], "by header X-User", id="header"),
        pytest.param("cookie:user", ["Cookie: a=b; user={}"], "by cookie user", id="cookie"),
        pytest.param("query:u", [], "by query u", id="query"),
        pytest.param(
            "cookie", ["Cookie: balancer_split={:016x}"], "by the cookie balancer_split", id="our cookie"
        ),
        pytest.param(
            "client_ip",
            ["X-Forwarded-For: 198.51.100.{}"],
            "by the client's address, 198.51.100.{}",
            id="address",
        ),
        pytest.param(
            "header:X-User",
            ["X-Forwarded-For: 198.51.100.{}"],
            "as the request has no header X-User: by the client's address, 198.51.100.{}",
            id="no header",
        ),
    ],
)
def test_it_names_the_side_of_a_known_user(key: str, fields: Sequence[str], how: str) -> None:
    settings = {**SPLIT, "BALANCER_SPLIT__KEY": key, "BALANCER_ROUTES": FALLBACK}
    sides = set()
    for user in range(20):
        lines = explained(f"x/?u={user}", [field.format(user) for field in fields], settings=settings)
        (line,) = [line for line in lines if line.startswith("its side")]
        side, _, named = line.removeprefix("its side").strip().partition(", ")
        assert named == how.format(user)
        sides.add(side)
    assert sides == {"stable", "canary"}


@pytest.mark.parametrize(
    ("sides", "said"),
    [("stable:50|canary:50", "stable or canary, by weight"), ("stable:0|canary:1", "canary, by weight")],
)
@pytest.mark.parametrize("cookie", [[], ["Cookie: balancer_split=x"]], ids=["none", "not ours"])
def test_the_side_of_a_new_user_is_not_known(sides: str, said: str, cookie: Sequence[str]) -> None:
    lines = explained("x/", cookie, settings={**SPLIT, "BALANCER_ROUTES": f"/={sides}"})
    assert f"its side      {said}: a new user, without the cookie balancer_split" in lines


@pytest.mark.parametrize(
    ("url", "fields", "text"),
    [
        ("ftp://x/", [], "ftp://x/ is no URL; write https://shop.example/api/x"),
        ("x/", ["Cookie"], "Cookie is no header field; write 'Name: value'"),
    ],
)
def test_what_is_no_request_is_refused(url: str, fields: list[str], text: str) -> None:
    with pytest.raises(OperatorError, match=text):
        explained(url, fields)
