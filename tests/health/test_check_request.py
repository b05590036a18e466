"""The request of a check: its target and its fields."""

import pytest

from balancer.health.request import render_check, target_of
from balancer.spec.part import replaced
from tests.health.harness import SETTINGS


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/"),
        ("/up%2Fall?full=1&x=a+b%26", "/up%2Fall?full=1&x=a+b%26"),
        ("//up//", "//up//"),
        ("/a/./b/../c", "/a/c"),
        ("/..", "/"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/../../up", "/up"),
        ("/up?x=/../a", "/up?x=/../a"),
        ("/up?a?b", "/up?a?b"),
        ("/100%", "/100%25"),
        ('/a"b<c>?d^{e}', "/a%22b%3Cc%3E?d%5E%7Be%7D"),
    ],
)
def test_the_target_has_no_dot_segments_and_is_escaped(path: str, target: str) -> None:
    assert target_of(path) == target


def test_configured_fields_override_the_defaults() -> None:
    settings = replaced(SETTINGS, headers=(("host", "shop.example"), ("X-Name", "Zoë")))
    lines = render_check("app1:8000", settings, "balancer-1").decode().split("\r\n")
    assert lines[0] == "GET / HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host:")] == ["host: shop.example"]
    assert "X-Name: Zoë" in lines
    assert "Via: 1.1 balancer-1" in lines
    assert lines[-2:] == ["", ""]
