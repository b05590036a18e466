"""Redirects that lead back to themselves, or round over several routes, are refused; no others are."""

import json
from typing import Any

import pytest

from balancer.config.loader import Loaded, load_with_origins
from balancer.errors import SettingsError


def loaded(*routes: Any, **values: str) -> Loaded:
    written = [{"pool": "default", **one} if "redirect" not in one else one for one in routes]
    environ = {"UPSTREAMS": "w:80", "ROUTES": json.dumps(written), **values}
    return load_with_origins({f"BALANCER_{name}": value for name, value in environ.items()})


def problems(*routes: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(*routes)
    return [sentence.removeprefix("BALANCER_ROUTES: ") for sentence in caught.value.problems]


@pytest.mark.parametrize(
    ("match", "to"),
    [
        ({}, "/down"),
        ({"path_prefix": "/a"}, "/a/b?x=1"),
        ({"host": "a.x", "path": "/caf%C3%A9"}, "/caf%c3%a9#top"),
        ({"path": "/a"}, "$uri"),
    ],
)
def test_a_redirect_to_itself_is_refused(match: Any, to: str) -> None:
    assert problems({"name": "a", "match": match, "redirect": to}) == [
        f"route 1 (a) redirects to {to}, which it takes itself, in circles; write another place, or put a "
        "route for it above"
    ]


@pytest.mark.parametrize(
    ("match", "to"),
    [({"path": "/a"}, "/b"), ({"methods": "POST"}, "$uri"), ({"cookies": {"old": "*"}}, "/a"), ({}, "/a/b")],
)
def test_a_redirect_that_ends_is_accepted(match: Any, to: str) -> None:
    loaded({"match": {"path": "/a/b"}}, {"name": "a", "match": match, "redirect": to})


def to(place: str, name: str = "", **match: Any) -> dict[str, Any]:
    """A redirect. It is called `name`, if that is not empty."""
    return {"match": match, "redirect": place, **({"name": name} if name else {})}


@pytest.mark.parametrize(
    "place",
    [
        "http://$host$uri",
        "http://$host:80$uri",
        "$scheme://$host$uri",
        "http://$host",
        "http://shop.example$path",
    ],
)
def test_a_url_of_the_same_host_is_a_redirect_to_itself(place: str) -> None:
    (text,) = problems(to(place, "a", host="shop.example"), {"name": "rest"})
    assert text.startswith(f"route 1 (a) redirects to {place}, which it takes itself, in circles; ")


@pytest.mark.parametrize(
    "route",
    [
        pytest.param(to("http://$host$uri", host="x.example", headers={"X-A": "1"}), id="with a condition"),
        pytest.param(to("http://$host:8080$uri", path_prefix="/x"), id="another port"),
        pytest.param(to("http://www.$host$uri", path_prefix="/x"), id="another host"),
        pytest.param(to("http://www.example.com$uri", path_prefix="/x"), id="a host that no route names"),
        pytest.param(to("https://$host$uri"), id="to https"),
        pytest.param(to("https://$host/x", path_prefix="/x"), id="to https, without a proxy in front"),
        pytest.param(to("/a?from=$uri", path="/b"), id="a query"),
        pytest.param(to("/a$uri", path="/b"), id="another path"),
    ],
)
def test_redirects_to_elsewhere_are_accepted(route: dict[str, Any]) -> None:
    assert loaded(route, {"name": "rest"}).warnings == ()


def test_a_proxy_in_front_may_bring_https_back() -> None:
    route = to("https://$host/x", "a", path_prefix="/x")
    assert loaded(route, {"name": "rest"}, TRUSTED_PROXIES="10.0.0.1").warnings == (
        "BALANCER_ROUTES: route 1 (a) redirects to https://$host/x, which it takes itself once a proxy in "
        "front forwards it, in circles; write another place, or put a route for it above",
    )
    routes = [
        to("https", "up", host="x.example"),
        to("http://$host$uri", "down", host="x.example"),
        {"name": "rest"},
    ]
    assert loaded(*routes).warnings == ()
    assert loaded(*routes, TRUSTED_PROXIES="10.0.0.1").warnings == (
        "BALANCER_ROUTES: route 1 (up) redirects in circles: up to https, down to http://$host$uri; let one "
        "of them lead elsewhere",
    )


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        pytest.param(
            [to("/b", "a", path="/a"), to("/a", "b", path="/b")],
            "route 1 (a) redirects in circles: a to /b, b to /a",
            id="two paths",
        ),
        pytest.param(
            [to("/a", "c", path="/c"), to("/b", "a", path="/a"), to("/a?x=1", "b", path="/b")],
            "route 2 (a) redirects in circles: a to /b, b to /a?x=1",
            id="two paths, and one that leads to them",
        ),
        pytest.param(
            [to("/b", "a", path="/a"), to("/c", "b", path="/b"), to("/a", "c", path="/c")],
            "route 1 (a) redirects in circles: a to /b, b to /c, c to /a",
            id="three paths",
        ),
        pytest.param(
            [
                to("http://y.example$uri", "x", host="x.example"),
                to("http://x.example$uri", "y", host="y.example"),
            ],
            "route 1 (x) redirects in circles: x to http://y.example$uri, y to http://x.example$uri",
            id="two hosts",
        ),
        pytest.param(
            [to("/b$uri", "a", path_prefix="/a"), to("/a$uri", "b", path_prefix="/b")],
            "route 1 (a) redirects in circles: a to /b$uri, b to /a$uri",
            id="paths that grow",
        ),
    ],
)
def test_redirects_in_circles_over_several_routes_are_refused(routes: list[Any], text: str) -> None:
    assert problems(*routes) == [f"{text}; let one of them lead elsewhere"]


def test_a_way_that_ends_is_accepted() -> None:
    chain = [to(f"/{number + 1}", path=f"/{number}") for number in range(50)]
    assert loaded(*chain, {"name": "rest"}).warnings == ()
    between = {"name": "m", "match": {"path": "/b", "methods": "GET"}}
    assert loaded(to("/b", path="/a"), between, to("/a", path="/b")).warnings == ()
