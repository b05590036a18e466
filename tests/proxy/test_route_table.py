"""Which route a request takes, by look-ups; compared with trying one route after the other."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.proxy.route_table import NONE, RouteTable, plain_host
from balancer.spec.worker import MatchSpec

PEER = Forwarding([]).peer("192.0.2.1")


def head_of(host: str, path: str, method: str = "GET", *lines: str) -> RequestHead:
    text = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])
    return parse_request_head(text.encode(), 8192, 100)


def found(routes: Sequence[MatchSpec], host: str, path: str, method: str = "GET", *lines: str) -> int:
    head = head_of(host, path, method, *lines)
    return RouteTable(list(routes)).find(head.target.partition(b"?")[0], head, PEER)


def of(host: str = "", prefix: str = "", path: str = "") -> MatchSpec:
    hosts, prefixes = (host,) if host else (), (prefix,) if prefix else ()
    return MatchSpec(hosts=hosts, path_prefixes=prefixes, path=path)


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        ("/api", "/api", True),
        ("/api", "/api/", True),
        ("/api", "/api/x/y", True),
        ("/api", "/apix", False),
        ("/api", "/ap", False),
        ("/api", "/x/api", False),
        ("/api/", "/api", True),
        ("/api/", "/api/x", True),
        ("/", "/", True),
        ("/", "/a/b", True),
        ("/a/b", "/a", False),
        ("/a/b", "/a/b/c", True),
        ("/a/b", "/a/bc", False),
    ],
)
def test_a_prefix_is_a_path_and_what_is_below_it(prefix: str, path: str, matches: bool) -> None:
    assert (found([of(prefix=prefix)], "a", path) == 0) is matches


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com:8080", True),
        ("example.com", "example.com.", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com:80", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("[::1]", "[::1]:8080", True),
        ("192.0.2.7", "192.0.2.7:80", True),
    ],
)
def test_hosts_are_compared_without_case_port_and_final_dot(pattern: str, host: str, matches: bool) -> None:
    assert (found([of(pattern)], host, "/") == 0) is matches


def test_an_exact_path_is_no_prefix() -> None:
    assert found([of(path="/health")], "a", "/health?x=1") == 0
    assert found([of(path="/health")], "a", "/health/x") == NONE
    assert found([of(path="/health")], "a", "/health/") == NONE


def test_the_first_match_wins_whatever_is_more_specific() -> None:
    assert found([of(), of(prefix="/api")], "a", "/api") == 0
    assert found([of("*.example.com"), of("a.example.com", "/x")], "a.example.com", "/x") == 0
    assert found([of(prefix="/api"), of("a.example.com")], "a.example.com", "/x") == 1


@pytest.mark.parametrize(
    ("match", "method", "path", "lines", "matches"),
    [
        (MatchSpec(methods=("GET", "HEAD")), "HEAD", "/", [], True),
        (MatchSpec(methods=("GET",)), "POST", "/", [], False),
        (MatchSpec(headers=(("X-Beta", "1"),)), "GET", "/", ["x-beta: 1"], True),
        (MatchSpec(headers=(("X-Beta", "1"),)), "GET", "/", ["x-beta: 12"], False),
        (MatchSpec(headers=(("X-Beta", "*"),)), "GET", "/", ["X-Beta: any"], True),
        (MatchSpec(headers=(("X-Beta", "*"),)), "GET", "/", [], False),
        (MatchSpec(cookies=(("beta", "yes"),)), "GET", "/", ["Cookie: a=1; beta=yes"], True),
        (MatchSpec(cookies=(("beta", "yes"),)), "GET", "/", ["Cookie: a=1; Beta=yes"], False),
        (MatchSpec(query=(("v", "2"),)), "GET", "/?a=1&v=2", [], True),
        (MatchSpec(query=(("v", "a b"),)), "GET", "/?v=a%20b", [], True),
        (MatchSpec(query=(("v", "2"),)), "GET", "/?w=2", [], False),
    ],
)
def test_all_conditions_must_be_met(
    match: MatchSpec, method: str, path: str, lines: list[str], matches: bool
) -> None:
    assert (found([match], "a", path, method, *lines) == 0) is matches


HOSTS = ["", "a.example.com", "*.example.com", "*.com", "b.org"]
PATHS = ["", "/", "/api", "/api/v1", "/static", "/api/v1/x"]
ROUTES = st.lists(
    st.builds(
        lambda host, path, exact, methods: MatchSpec(
            hosts=(host,) if host else (),
            path=path if exact else "",
            path_prefixes=(path,) if path and not exact else (),
            methods=methods,
        ),
        st.sampled_from(HOSTS),
        st.sampled_from(PATHS),
        st.booleans(),
        st.sampled_from([(), ("GET",), ("POST",)]),
    ),
    max_size=12,
)


def by_walking(routes: Sequence[MatchSpec], head: RequestHead) -> int:
    """The plain meaning of the settings."""
    path, host = head.target, plain_host(head.host).decode()
    for number, match in enumerate(routes):
        fits_host = not match.hosts or any(
            host.endswith(one[1:]) if one.startswith("*") else host == one for one in match.hosts
        )
        fits_path = not match.path_prefixes or any(
            path.startswith(one.rstrip("/").encode() + b"/") or path == one.encode()
            for one in match.path_prefixes
        )
        same = not match.path or path == match.path.encode()
        if fits_host and fits_path and same and (not match.methods or head.method.decode() in match.methods):
            return number
    return NONE


@given(
    ROUTES,
    st.sampled_from(["a.example.com", "example.com", "x.y.example.com", "b.org", "c"]),
    st.sampled_from(["/", "/api", "/api/", "/api/v1", "/api/v1/x", "/apix", "/static/a/b/c"]),
    st.sampled_from(["GET", "POST"]),
)
def test_look_ups_find_what_walking_finds(routes: list[MatchSpec], host: str, path: str, method: str) -> None:
    assert found(routes, host, path, method) == by_walking(routes, head_of(host, path, method))


def test_a_client_that_invents_hosts_takes_no_memory() -> None:
    table = RouteTable([of("a.example.com"), of()])
    for number in range(5000):
        head = head_of(f"h{number}.example.com", "/")
        assert table.find(b"/", head, PEER) == 1
    assert len(table._known) <= 1024
