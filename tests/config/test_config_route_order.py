"""Routes that can never match, or lead back to themselves, are refused; no others are."""

import json
import re
from itertools import product
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.config.loader import load
from balancer.config.route_text import MOST_ROUTES
from balancer.errors import SettingsError
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import parse_request_head
from balancer.proxy.route_table import RouteTable
from balancer.runtime.blueprint import instance_spec

PEER = Forwarding([]).peer("192.0.2.1")


def loaded(*routes: Any) -> Any:
    values = [{"pool": "default", **one} if "redirect" not in one else one for one in routes]
    return load({"BALANCER_UPSTREAMS": "w:80", "BALANCER_ROUTES": json.dumps(values)})


def problem(*routes: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(*routes)
    (sentence,) = caught.value.problems
    return sentence.removeprefix("BALANCER_ROUTES: ")


SAME = "route 2 (b) never matches: a, above it, matches the same requests; remove one of them"
ALL = "route 2 (b) never matches: a, above it, takes all of its requests; put it first"


@pytest.mark.parametrize(
    ("above", "below", "text"),
    [
        pytest.param({"path": "/a"}, {"path": "/a"}, SAME, id="the same path"),
        pytest.param({"path": "/a"}, {"path": "/a", "methods": "GET"}, ALL, id="the same path, and a method"),
        pytest.param({"path_prefix": "/caf%C3%A9"}, {"path_prefix": "/caf%c3%a9/"}, SAME, id="hex digits"),
        pytest.param({"path_prefix": "/%61"}, {"path_prefix": "/a/b"}, ALL, id="another spelling"),
        pytest.param({"path_prefix": "/a"}, {"path": "/a"}, ALL, id="a path and its prefix"),
        pytest.param({"methods": "GET,HEAD"}, {"methods": "GET"}, ALL, id="one of the methods"),
        pytest.param({"methods": "GET"}, {"methods": "GET"}, SAME, id="the same method"),
        pytest.param(
            {"headers": {"X-A": "*"}}, {"headers": {"x-a": "1"}, "query": {"v": "1"}}, ALL, id="any value"
        ),
        pytest.param({"cookies": {"a": "1"}}, {"cookies": {"a": "1"}}, SAME, id="the same cookie"),
        pytest.param(
            {"host": ["b.x", "a.x"], "query": {"v": "1"}},
            {"host": ["a.x", "b.x"], "query": {"v": "1"}},
            SAME,
            id="hosts in another order",
        ),
    ],
)
def test_a_route_that_another_one_hides_is_refused(above: Any, below: Any, text: str) -> None:
    assert problem({"name": "a", "match": above}, {"name": "b", "match": below}) == text


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ({"path": "/a"}, {"path": "/a/"}),
        ({"path": "/a"}, {"path_prefix": "/a"}),
        ({"methods": "GET"}, {"methods": "GET,POST"}),
        ({"methods": "GET"}, {"path": "/a"}),
        ({"headers": {"X-A": "1"}}, {"headers": {"X-A": "*"}}),
        ({"cookies": {"a": "*"}}, {"cookies": {"A": "*"}}),
        ({"query": {"a": "1", "b": "1"}}, {"query": {"a": "1"}}),
    ],
)
def test_a_route_that_has_requests_of_its_own_is_accepted(above: Any, below: Any) -> None:
    loaded({"name": "a", "match": above}, {"name": "b", "match": below})


def test_a_redirect_to_https_leaves_what_is_https_already_to_the_routes_below() -> None:
    to_https = {"redirect": "https"}
    assert len(loaded({"name": "a", **to_https}, {"name": "b"}).routes) == 2
    assert problem({"name": "a", **to_https}, {"name": "b", "redirect": "https://$host$uri"}) == SAME
    assert problem({"name": "a"}, {"name": "b", **to_https}) == ALL


def test_all_routes_that_hide_one_are_named() -> None:
    hosts = ("x.example", "y.example", "z.example")
    above = [{"name": host[0], "match": {"host": host}} for host in hosts]
    two = {"name": "b", "match": {"host": list(hosts[:2]), "path_prefix": "/a"}}
    three = {"name": "b", "match": {"host": list(hosts)}}
    end = "takes all of its requests; put it first"
    assert (
        problem(*above, two)
        == f"route 4 (b) never matches: x and y, above it, {end.replace('s all', ' all')}"
    )
    assert problem(*above, three).startswith("route 4 (b) never matches: x, y and z, above it, take all of")


VALUES = st.sampled_from([{}, {"x": "1"}, {"x": "*"}])
MATCHES = st.fixed_dictionaries(
    {
        "host": st.lists(st.sampled_from(["a.x", "*.x", "b.y"]), max_size=2),
        "methods": st.lists(st.sampled_from(["GET", "PUT"]), max_size=2),
        "headers": VALUES,
        "query": VALUES,
    },
    optional={"path_prefix": st.lists(st.sampled_from(["/", "/a", "/a/b", "/%61"]), max_size=2)},
) | st.fixed_dictionaries({"path": st.sampled_from(["/a", "/a/b", "/a/"])})
REQUESTS = [
    f"{method} {path}{query} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
    for method, path, query, host, fields in product(
        ["GET", "PUT", "DELETE"], ["/", "/a", "/a/", "/a/b", "/a/b/c", "/c"], ["", "?x=1", "?x=2"],
        ["a.x", "c.x", "b.y", "z"], ["", "x: 1\r\n", "x: 2\r\n"],
    )
]  # fmt: skip


@given(st.lists(MATCHES, min_size=2, max_size=3))
def test_a_refused_route_is_one_that_no_request_takes(matches: list[dict[str, Any]]) -> None:
    routes = [
        {"name": str(number), "match": {name: value for name, value in match.items() if value}}
        for number, match in enumerate(matches)
    ]
    try:
        loaded(*routes)
    except SettingsError as error:
        found = re.search(r"route ([0-9]) \(.\) never matches", error.problems[0])
        assert found is not None
        asked = routes[: int(found[1])]
    else:
        return
    hidden = len(asked) - 1
    specs = [instance_spec(loaded(one), via="x", max_connections=10).worker.routes[0].match for one in asked]
    table = RouteTable(specs)
    for raw in REQUESTS:
        head = parse_request_head(raw, 8192, 100)
        assert table.number_of(head, PEER) != hidden


@pytest.mark.parametrize(
    "match",
    [
        pytest.param(lambda n: {"path": f"/{n}"}, id="paths"),
        pytest.param(lambda n: {"headers": {"X-Tenant": str(n)}}, id="values of a field"),
        pytest.param(
            lambda n: {"headers": {"X-Tenant": str(n), "A": "1"}}, id="values of a field, and another"
        ),
        pytest.param(lambda n: {"host": [f"{n}.example", f"*.{n}.example"]}, id="hosts"),
    ],
)
def test_as_many_routes_as_there_is_room_for_are_compared_quickly(match: Any) -> None:
    routes = [{"pool": "default", "match": match(n)} for n in range(MOST_ROUTES)]
    values = {"BALANCER_UPSTREAMS": "w:80", "BALANCER_ROUTES": json.dumps(routes)}
    start = process_time()
    assert len(load(values).routes) == MOST_ROUTES
    assert process_time() - start < 1  # 0.2 s; with each compared to each 1.5 s


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(", ".join(f"/{n}=default" for n in range(20_001)), id="valid"),
        pytest.param(", ".join(f"/{n}=" for n in range(20_001)), id="wrong"),
        pytest.param(json.dumps([{"pol": "default"}] * 20_001), id="JSON"),
    ],
)
def test_more_routes_than_there_is_room_for_are_counted_before_all_else(text: str) -> None:
    start = process_time()
    with pytest.raises(SettingsError) as caught:
        load({"BALANCER_UPSTREAMS": "w:80", "BALANCER_ROUTES": text})
    assert process_time() - start < 3  # 0.1 s; it was 80 s
    assert caught.value.problems == ["BALANCER_ROUTES: has 20001 routes; there is room for 1024: name fewer"]
