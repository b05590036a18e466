"""Routes in the short and in the long form, and what is said about wrong ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from balancer.config.loader import load, load_with_origins
from balancer.config.route_edits import VARIABLES
from balancer.config.routes import RouteSettings
from balancer.errors import SettingsError
from balancer.http import edits

POOLS = {
    "BALANCER_UPSTREAMS": "w:80",
    "BALANCER_POOLS__API__UPSTREAMS": "a:80",
    "BALANCER_POOLS__STATIC__UPSTREAMS": "s:80",
}


def routes(value: object) -> tuple[RouteSettings, ...]:
    return load({**POOLS, "BALANCER_ROUTES": value if isinstance(value, str) else json.dumps(value)}).routes


def problem(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SettingsError) as caught:
        load({**POOLS, "BALANCER_ROUTES": text})
    (sentence,) = caught.value.problems
    return sentence


def test_the_short_form_names_hosts_prefixes_and_pools() -> None:
    found = routes(
        "/api/=api, static.example.com/=static, *.example.com/v2=api, shop.example=static, /=default"
    )
    assert [(route.match.host, route.match.path_prefix, route.pool) for route in found] == [
        ((), ("/api/",), "api"),
        (("static.example.com",), ("/",), "static"),
        (("*.example.com",), ("/v2",), "api"),
        (("shop.example",), (), "static"),
        ((), ("/",), "default"),
    ]
    assert [route.name for route in found] == ["api", "static", "api-2", "static-2", "default"]


def test_the_long_form_has_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text(
        """
upstreams: w:80
pools: {api: {upstreams: a:80}}
routes:
  - name: shop-api
    match:
      host: [shop.example, "*.shop.example"]
      path_prefix: /api
      methods: GET,POST
      headers: {X-Beta: "1"}
      query: {v: "2"}
      cookies: {beta: "*"}
    pool: api
    strip_prefix: true
    replace_prefix: /v2
    host: api.internal
    request_headers: {set: {X-Client: $client_ip}, remove: Cookie}
    response_headers: {add: {X-Served: $host}}
    timeouts: {first_byte: 90s, total: 0}
    retry: {max_attempts: 1}
    limits: {body_bytes: 1G}
  - {match: {path: /old}, redirect: {to: "/new$uri", status: 301}}
  - {match: {host: down.example}, respond: {status: 503, text: "Back at noon."}}
  - /=default
""",
        encoding="utf-8",
    )
    first, moved, closed, last = load({}, str(file)).routes
    assert first.match.host == ("shop.example", "*.shop.example")
    assert first.match.cookies == {"beta": "*"}
    assert first.prefixes == ("/api",)
    assert (first.timeouts.first_byte, first.timeouts.total, first.timeouts.idle) == (90.0, 0.0, None)
    assert (first.retry.max_attempts, first.limits.body_bytes) == (1, 1 << 30)
    assert moved.redirect is not None
    assert (moved.name, moved.redirect.chosen_status, moved.redirect.location) == (
        "redirect",
        301,
        "/new$uri",
    )
    assert closed.respond is not None
    assert (closed.name, closed.respond.body()) == ("respond", b"Back at noon.")
    assert (last.name, last.pool) == ("default", "default")


def test_variables_are_those_that_the_proxy_knows() -> None:
    assert VARIABLES == edits.VARIABLES


def of(**changes: Any) -> list[dict[str, Any]]:
    return [{"pool": "api", **changes}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("api", 'route 1: "api" is no route; write a path or a host, =, and a pool: /api/=api'),
        ("/a=", 'route 1: "/a=" is no route; write a path or a host, =, and a pool: /api/=api'),
        ("=api", 'route 1: "=api" is no route; write a path or a host, =, and a pool: /api/=api'),
        ("http://x/=api", 'route 1: "http://x/=api" has a URL; write its host and path: x/=api'),
        (
            "/api/=apx",
            "route 1 (apx) names the pool apx, which does not exist; the pools are default, api, static",
        ),
        (
            "/=api, /static=static",
            "route 2 (static) never matches: api, above it, takes all of its requests; put it first",
        ),
        (
            "*.example.com/a=api, b.example.com/a/b=static",
            "route 2 (static) never matches: api, above it, takes all of its requests; put it first",
        ),
        ('[{"pool": "api"}', "is not valid JSON; write a list of routes, or /api/=api, /=web"),
        ({"pool": "api"}, "is a JSON object, not a list; put [ and ] around it"),
        (
            "*.münchen.example=api",
            'route 1: match.host: "*.münchen.example" is not ASCII, as names in DNS and in Host are; write '
            "xn--mnchen-3ya.example",
        ),
        (
            of(match={"host": "straße.example"}),
            'route 1: match.host: "straße.example" is not ASCII, as names in DNS and in Host are; write the '
            "form that DNS has, xn--...",
        ),
        (
            {"/api": "api", "/": "default"},
            "is a mapping, not a list; write /api=api, /=default",
        ),
        (
            "/api=api; /=default",
            'route 1: "/api=api; /=default" is more than one route; put commas between them: '
            "/api/=api, /=web",
        ),
        ("/=api=9|static=1", 'route 1: "/=api=9|static=1" has weights with =; write /=stable:90|canary:10'),
        ('"/=api"', "has quotes that are part of the value; remove them"),
        (of(path="/x"), "route 1: path: no such setting of a route; did you mean match.path?"),
        (
            [{"redirect": "https", "status": 301}],
            "route 1: status: no such setting of a route; did you mean redirect.status?",
        ),
        (
            of(request_headers={"X-A": "1"}),
            "route 1: request_headers.X-A: no such setting of a route; there are set, add, remove",
        ),
        (
            of(match="/x"),
            'route 1: match: "/x" is no group of settings; it has host, path, path_prefix, methods, headers, '
            "query, cookies",
        ),
        (of(match=None), "route 1: match: has no value; give it one or remove it"),
        (of(timeouts={"idle": None}), "route 1: timeouts.idle: has no value; give it one or remove it"),
        ([{"pool": {"upstreams": "a:1"}}], "route 1: pool: is a mapping, not text; write one value"),
        (
            [{"redirect": "https://a.example$request_uri"}],
            'route 1: redirect.to: "https://a.example$request_uri" has $request_uri, which is no variable '
            "here; write $uri",
        ),
        (
            [{"redirect": {"to": "https", "status": 300}}],
            "route 1: redirect.status: 300 is not the status of a redirect; write 301, 302, 303, 307 or 308",
        ),
        ([3], "route 1: 3 is not a mapping of names to values"),
        ([{}], "route 1: has neither a pool nor a split nor a redirect nor a respond; write one of them"),
        (of(redirect="https"), "route 1: has pool and redirect; keep one of them"),
        (of(name="x", mach={}), "route 1 (x): mach: no such setting of a route; did you mean match?"),
        (
            of(match={"hosts": "x"}),
            "route 1: match.hosts: no such setting of a route; did you mean match.host?",
        ),
        *(
            (of(match={name: empty}), f"route 1: match.{name}: {shown}is empty; name {one} or remove it")
            for name, empty, shown, one in [
                ("host", "", '"" ', "a host"),
                ("host", " , ", '" , " ', "a host"),
                ("host", [], "[] ", "a host"),
                ("path", "", '"" ', "a path"),
                ("path_prefix", [], "[] ", "a prefix"),
                ("methods", "", '"" ', "a method"),
                ("headers", {}, "", "a field"),
                ("query", {}, "", "a parameter"),
                ("cookies", "{}", '"{}" ', "a cookie"),
            ]
        ),
        (
            of(match={"path": "/a", "path_prefix": "/b"}),
            "route 1: match: has a path and a path_prefix; keep one of them",
        ),
        (
            of(match={"host": "a.*.b"}),
            'route 1: match.host: "a.*.b" has a wildcard that is not its first label; write *.example.com',
        ),
        (
            of(match={"host": "a.example:80"}),
            'route 1: match.host: "a.example:80" has a port, which does not matter here; write a.example',
        ),
        (of(match={"path_prefix": "api"}), 'route 1: match.path_prefix: "api" is not a path; write /api'),
        (
            of(match={"path_prefix": "/a/*"}),
            'route 1: match.path_prefix: "/a/*" has a wildcard; a prefix needs none: write /a/',
        ),
        (
            of(match={"path_prefix": "/a?b"}),
            'route 1: match.path_prefix: "/a?b" has a query; write the path alone, and match.query',
        ),
        (
            of(match={"path": "/a/../b"}),
            'route 1: match.path: "/a/../b" is not in normal form, so no request could have it; write /b',
        ),
        *(
            (
                of(match={"path_prefix": path}),
                f'route 1: match.path_prefix: "{path}" is not in normal form, so no request could have it; '
                f"write {normal}",
            )
            for path, normal in [
                ("/a%2fb", "/a/b"),
                ("/a//b/", "/a/b/"),
                ("/a/.", "/a/"),
                ("/a/%2e%2E/b", "/b"),
                ("/../a", "/a"),
                ("/a;v=1/b", "/a/b"),
                ("/a%", "/a%25"),
            ]
        ),
        (
            of(match={"methods": "get"}),
            'route 1: match.methods: "get" has an item that is not a method (get); methods are in capitals: '
            "GET,HEAD",
        ),
        (of(strip_prefix=True), "route 1: has no match.path_prefix that could be stripped; add one"),
        ("*=api", 'route 1: match.host: "*" is every host; leave it out: /=web'),
        *(
            (of(host=host), f'route 1: host: "{host}" is not a Host; write app.example or app.example:8080')
            for host in ("$path", "a$uri", "a:99999")
        ),
        (of(host="x y"), 'route 1: host: "x y" is not a Host; write app.example or app.example:8080'),
        (
            of(request_headers={"set": {"Connection": "x"}}),
            "route 1: request_headers.set: has Connection, which the balancer writes itself; remove it",
        ),
        (
            of(request_headers={"set": {"Host": "x"}}),
            "route 1: request_headers.set: has Host; the route's own setting `host` replaces it",
        ),
        (
            of(response_headers={"add": {"X-A": "a\r\nb"}}),
            "route 1: response_headers.add: has characters in X-A that a header field cannot have",
        ),
        (
            of(response_headers={"add": {"X-A": "$ip"}}),
            "route 1: response_headers.add: has $ip, which is no variable; write $client_ip, $host, $path, "
            "$request_id, $scheme, $uri, or $$ for a dollar sign",
        ),
        (
            of(timeouts={"idle": "fast"}),
            'route 1: timeouts.idle: "fast" is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h, '
            "1d",
        ),
        (of(retry={"max_attempts": 0}), "route 1: retry.max_attempts: 0 is too small; the minimum is 1"),
        (
            [{"redirect": "javascript:x"}],
            'route 1: redirect.to: "javascript:x" is not a place to go to; write https, '
            "https://www.example.com$uri, or /path",
        ),
        (
            [{"redirect": "//evil.example"}],
            'route 1: redirect.to: "//evil.example" is not a place to go to; write https, '
            "https://www.example.com$uri, or /path",
        ),
        (
            [{"redirect": "https", "host": "x"}],
            "route 1: has host, which has no effect without a pool; remove it",
        ),
        (
            [{"respond": {"status": 204, "text": "x"}}],
            "route 1: respond: has a body, which a 204 cannot have; remove it",
        ),
        (
            [{"respond": {"file": "/nowhere/x.html"}}],
            'route 1 (respond): respond.file: "/nowhere/x.html" cannot be read (no such file or directory); '
            "correct the path or mount the file",
        ),
        (
            [{"name": "a", "redirect": "https", "match": {"path": "/a"}}, {"name": "a", "pool": "api"}],
            "has 2 routes called a; give each its own name",
        ),
        (
            [{"name": "unmatched", "pool": "api"}],
            'route 1 (unmatched): name: "unmatched" is the name of the route of requests that no other '
            "matches; choose another name",
        ),
    ],
)
def test_a_mistake_is_named_where_it_is(value: object, text: str) -> None:
    assert problem(value) == f"BALANCER_ROUTES: {text}"


def test_a_route_with_conditions_takes_nothing_from_those_below() -> None:
    found = routes([{"match": {"methods": "POST"}, "pool": "api"}, "/=default"])
    assert len(found) == 2


def test_routes_of_several_hosts_are_shadowed_only_if_all_are() -> None:
    first, second = {"host": "a.x"}, {"host": ["a.x", "b.x"]}
    assert len(routes([{"match": first, "pool": "api"}, {"match": second, "pool": "static"}])) == 2


def test_the_body_of_a_file_is_limited(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"x" * 65536)
    (route,) = routes([{"respond": {"file": str(page)}}])
    assert route.respond is not None
    assert (len(route.respond.body()), route.respond.chosen_type) == (65536, "text/html; charset=utf-8")
    page.write_bytes(b"x" * 65537)
    assert problem([{"respond": {"file": str(page)}}]).endswith("is larger than 64 KiB; let an app serve it")


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("upstreams: w:80\nroutes:\n  - {name: x, pool: y}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_with_origins({}, str(file))
    assert caught.value.problems == [
        f"{file}: routes: route 1 (x) names the pool y, which does not exist; the pools are default"
    ]


ALL = {"path_prefix": "/"}


@pytest.mark.parametrize(
    "written",
    [
        "/=api:90|static:10",
        [{"match": ALL, "split": {"api": 90, "static": 10}}],
        [{"match": ALL, "split": {"sides": {"api": "90", "static": 10}}}],
        [{"match": ALL, "split": "api:90|static:10"}],
        [
            {
                "match": {"path_prefix": "/"},
                "split": [{"pool": "api", "weight": 90}, {"pool": "static", "weight": 10}],
            }
        ],
    ],
)
def test_a_route_may_be_split(written: object) -> None:
    (route,) = routes(written)
    assert route.split is not None
    assert (route.name, route.split.sides) == ("api-static", {"api": 90, "static": 10})
    assert (route.split.fallback, route.split.keep) == (False, False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            "/=api:90|x:10",
            "route 1 (api-x) names the pool x, which does not exist; the pools are default, api, static",
        ),
        (
            "/=api|static",
            'route 1: split.sides: "api|static" has a side without a weight; write stable:90|canary:10',
        ),
        (
            "/=default:5|default:10|api:1",
            'route 1: split.sides: "default:5|default:10|api:1" names default twice; write each pool once',
        ),
        (
            [{"split": [{"pool": "api", "weight": 1}, {"pool": "api", "weight": 2}]}],
            'route 1: split.sides: [{"pool": "api", "weight": 1}, {"pool": "api", "weight": 2}] names '
            "api twice; write each pool once",
        ),
        ('[{"split": {"api": 1, "static": 2, "api": 3}}]', 'has the key "api" twice; keep one of them'),
        (
            "/=api:90%|static:10%",
            'route 1: split.sides: "api:90%|static:10%" has a weight that is not whole (90%); write '
            "stable:90|canary:10",
        ),
        (
            [{"split": ["api", "static"]}],
            'route 1: split.sides: ["api", "static"] is no list of sides; write [{pool: stable, '
            "weight: 90}, ...]",
        ),
        ([{"split": {"api": 1}}], "route 1: split.sides: has 1 sides; write 2 to 16"),
        (
            [{"split": {"api": 0, "static": 0}}],
            "route 1: split.sides: has no side with a weight above 0; give one of them a weight",
        ),
        ([{"split": {"api": -1, "static": 1}}], "route 1: split.sides: -1 is too small; the minimum is 0"),
        (
            [{"split": {"api": 1, "static": 1}, "pool": "api"}],
            "route 1: has pool and split; keep one of them",
        ),
    ],
)
def test_a_wrong_split_is_refused(value: object, text: str) -> None:
    assert problem(value) == f"BALANCER_ROUTES: {text}"


def test_a_mapping_of_a_file_is_told_how_to_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("upstreams: w:80\nroutes:\n  pool: default\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load({}, str(file))
    assert caught.value.problems == [
        f"{file}: routes: is a mapping, not a list; write one route below the other, each with a - in front"
    ]


def problems(value: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load({**POOLS, "BALANCER_ROUTES": value if isinstance(value, str) else json.dumps(value)})
    return [sentence.removeprefix("BALANCER_ROUTES: ") for sentence in caught.value.problems]


def test_mistakes_in_several_routes_are_reported_together() -> None:
    wrong = ["/a=apx", "/b", {"match": {"path": "c"}, "pool": "api"}, 5, {"name": "d"}, "/a/x=api", "/d=apy"]
    assert problems(wrong) == [
        'route 2: "/b" is no route; write a path or a host, =, and a pool: /api/=api',
        'route 3: match.path: "c" is not a path; write /c',
        "route 4: 5 is not a mapping of names to values",
        "route 5 (d): has neither a pool nor a split nor a redirect nor a respond; write one of them",
        "route 1 (apx) names the pool apx, which does not exist; the pools are default, api, static",
        "route 6 (api) never matches: apx, above it, takes all of its requests; put it first",
        "route 7 (apy) names the pool apy, which does not exist; the pools are default, api, static",
    ]


def test_mistakes_in_the_short_form_are_reported_together() -> None:
    assert problems("/a, /b=api, http://x/=api") == [
        'route 1: "/a" is no route; write a path or a host, =, and a pool: /api/=api',
        'route 3: "http://x/=api" has a URL; write its host and path: x/=api',
    ]


def test_routes_of_one_name_and_hidden_ones_are_reported_together() -> None:
    same = {"name": "a", "match": {"path": "/a"}, "pool": "api"}
    assert problems([same, same, {"name": "b", "match": {"path": "/a"}, "pool": "x"}]) == [
        "has 2 routes called a; give each its own name",
        "route 2 (a) never matches: a, above it, matches the same requests; remove one of them",
        "route 3 (b) names the pool x, which does not exist; the pools are default, api, static",
        "route 3 (b) never matches: a, above it, matches the same requests; remove one of them",
    ]


def test_pools_that_could_not_be_read_are_not_reported_missing(tmp_path: Path) -> None:
    environ = {"BALANCER_CONFIG": str(tmp_path / "missing.yaml"), "BALANCER_ROUTES": "/api=api, /b"}
    with pytest.raises(SettingsError) as caught:
        load(environ)
    _, about_routes = caught.value.problems
    assert about_routes.startswith('BALANCER_ROUTES: route 2: "/b" is no route')


def test_an_item_of_a_list_in_yaml_that_is_no_route_has_its_number(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("upstreams: w:80\nroutes:\n  - /=default\n  - 5\n  - [/a=default]\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load({}, str(file))
    assert caught.value.problems == [
        f'{file}: routes: route 2: "5" is no route; write a path or a host, =, and a pool: /api/=api',
        f'{file}: routes: route 3: ["/a=default"] is not a mapping of names to values',
    ]
