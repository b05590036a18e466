"""`balancer route`: the explanation of one request."""

from collections.abc import Sequence
from io import StringIO

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


def explained(url: str, fields: Sequence[str] = (), method: str = "GET") -> list[str]:
    environ = {
        "BALANCER_UPSTREAMS": "w:80",
        "BALANCER_POOLS__API__UPSTREAMS": "a:80",
        "BALANCER_ROUTES": ROUTES,
        "BALANCER_TRUSTED_PROXIES": "10.0.0.0/8",
    }
    spec = instance_spec(load(environ), via="lb", max_connections=10).worker
    output = StringIO()
    explain(spec, method, url, fields, "10.0.0.7", Console(file=output, width=200))
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
                "route         redirect, number 2: host *.old.example",
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


def test_it_shows_the_normal_form_of_a_path() -> None:
    assert explained("x/a/../shop/%61")[:2] == [
        "path          /shop/a, the normal form of /a/../shop/%61",
        "route         default, number 4: path below /shop",
    ]


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
