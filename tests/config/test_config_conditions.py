"""Conditions of routes, keys of splits and hash keys: what can never be met is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.config.loader import load
from balancer.config.route_paths import check_prefix, is_below, matched_form
from balancer.errors import ProtocolError, SettingsError
from balancer.http import normal_path

POOLS = {"UPSTREAMS": "w:80", "POOLS__API__UPSTREAMS": "a:80", "POOLS__NEW__UPSTREAMS": "n:80"}
HASHING = {"POLICY": "consistent_hash"}
STICKY = {"STICKY__ENABLED": "true", "STICKY__SECRET": "x"}
OF_APP = {"POOLS__NEW__STICKY__ENABLED": "true", "POOLS__NEW__STICKY__APP_COOKIE": "SID"}
SPLIT = {"ROUTES": "/x=api, /=new:1|default:1"}
NO_PROXIES = "which only trusted proxies may send, and there are none; set TRUSTED_PROXIES or FORWARDED__KEEP"


def environ(**values: str) -> dict[str, str]:
    given = {**POOLS, "ROUTES": "/api=api, /=new:1|default:1", **values}
    return {f"BALANCER_{name}": value for name, value in given.items()}


def problems(**values: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ(**values))
    return caught.value.problems


def matching(**match: Any) -> dict[str, str]:
    return {"ROUTES": json.dumps([{"name": "x", "match": match, "pool": "api"}, "/=new:1|default:1"])}


@pytest.mark.parametrize(
    ("match", "text"),
    [
        (
            {"headers": {"Connection": "close"}},
            "headers: has Connection, which concerns one connection only and is not kept; name another field",
        ),
        (
            {"headers": {"keep_alive": "*"}},
            "headers: has keep_alive, which is dropped, as apps take it for keep-alive; write that",
        ),
        (
            {"headers": {"Proxy-Authorization": "*"}},
            "headers: has Proxy-Authorization, which is dropped from every request; name another field",
        ),
        (
            {"headers": {"Via": "*"}},
            "headers: has Via, which the balancer itself adds to; name another field",
        ),
        (
            {"headers": {"Upgrade": "h2c"}},
            "headers: has an Upgrade that is not forwarded; write websocket",
        ),
        (
            {"headers": {"Host": "a.example"}},
            "headers: has Host, whose case and port would count; write match.host",
        ),
        (
            {"headers": {"cookie": "beta=1"}},
            "headers: has cookie, which holds all cookies; write match.cookies",
        ),
        (
            {"headers": {"X-Forwarded-For": "*"}},
            "headers: has any X-Forwarded-For, which every request has; write a value, or remove it",
        ),
        (
            {"headers": {"X-Beta": "1", "x-beta": "2"}},
            "headers: has x-beta twice, with and without capitals; keep one of them",
        ),
        (
            {"headers": {"X-Beta": "a\nb"}},
            "headers: has characters in X-Beta that a header field cannot have; remove them",
        ),
        (
            {"headers": {"X Beta": "1"}},
            "headers: has an invalid field name (X Beta); write names such as X-Beta",
        ),
        (
            {"headers": {"X-Beta": 1.5}},
            "headers: has a value of X-Beta that is not text; put it in quotes",
        ),
        (
            {"cookies": {"beta": "a;b"}},
            "cookies: has characters in beta that the value of a cookie cannot have; remove them",
        ),
        (
            {"cookies": {"beta=1": "*"}},
            "cookies: has a name that a cookie cannot have (beta=1); write the name alone",
        ),
        ({"query": {"": "1"}}, "query: has an empty or unprintable name"),
    ],
)
def test_a_condition_that_no_or_every_request_meets_is_refused(match: dict[str, Any], text: str) -> None:
    (problem,) = problems(**matching(**match))
    assert problem == f"BALANCER_ROUTES: route 1 (x): match.{text}"


def test_numbers_and_booleans_are_the_text_that_a_request_has() -> None:
    values = {"v": 2, "debug": True}
    (route, _) = load(environ(**matching(query=values, cookies=values, headers=values))).routes
    wanted = {"v": "2", "debug": "true"}
    assert (route.match.query, route.match.cookies, route.match.headers) == (wanted, wanted, wanted)


def test_a_query_value_may_have_any_characters() -> None:
    (route, _) = load(environ(**matching(query={"q": "a\nb;c"}))).routes
    assert route.match.query == {"q": "a\nb;c"}


def test_an_upgrade_and_a_request_id_may_be_asked_for() -> None:
    (route, _) = load(environ(**matching(headers={"Upgrade": "WebSocket", "X-Request-ID": "*"}))).routes
    assert route.match.headers == {"Upgrade": "websocket", "X-Request-ID": "*"}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("header:TE", "names TE, which concerns one connection only and is not kept; name another field"),
        ("header:Upgrade", "names Upgrade, which is the same in all requests; name another field"),
        ("header:Cookie", "names Cookie, which changes with each cookie; write cookie:NAME"),
        ("header:CF-Connecting-IP", f"names CF-Connecting-IP, {NO_PROXIES}"),
        ("header:X-Forwarded_User", "names X-Forwarded_User, which is dropped, as apps take it for "
         "x-forwarded-user; write that"),
    ],
)  # fmt: skip
def test_a_key_that_no_request_has_is_refused(key: str, text: str) -> None:
    assert problems(SPLIT__KEY=key) == [f'BALANCER_SPLIT__KEY: "{key}" {text}']
    assert problems(HASH_KEY=key, **HASHING) == [f'BALANCER_HASH_KEY: "{key}" {text}']


def test_fields_of_trusted_proxies_may_be_asked_for_where_there_are_some() -> None:
    wanted = matching(headers={"CF-Visitor": "*"})
    assert problems(**wanted) == [
        f"BALANCER_ROUTES: route 1 (x): match.headers: has CF-Visitor, {NO_PROXIES}"
    ]
    load(environ(**wanted, TRUSTED_PROXIES="10.0.0.0/8"))
    load(environ(**wanted, FORWARDED__KEEP="CF-Visitor"))


# --- cookies of the balancer, and those it adds to

OWN = "the balancer's own cookie"
TOKEN = "an app's cookie that gets a token (POOLS__NEW__STICKY__APP_COOKIE)"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param(
            {**STICKY, **matching(cookies={"balancer_sticky_api": "*"})},
            f"BALANCER_ROUTES: route 1 (x): match.cookies: has balancer_sticky_api, {OWN} "
            "(POOLS__API__STICKY__COOKIE); name another cookie",
            id="a condition on a sticky cookie",
        ),
        pytest.param(
            matching(cookies={"balancer_split": "*"}),
            f"BALANCER_ROUTES: route 1 (x): match.cookies: has balancer_split, {OWN} (SPLIT__COOKIE); name "
            "another cookie",
            id="a condition on the cookie of splits",
        ),
        pytest.param(
            {**OF_APP, **matching(cookies={"SID": "1"})},
            f"BALANCER_ROUTES: route 1 (x): match.cookies: has SID, {TOKEN}; name another cookie",
            id="a condition on the value of a session",
        ),
        pytest.param(
            {**OF_APP, "SPLIT__KEY": "cookie:SID"},
            f'BALANCER_SPLIT__KEY: "cookie:SID" is {TOKEN}, so users would change sides; name another cookie',
            id="a split by a session",
        ),
        pytest.param(
            {**STICKY, "SPLIT__KEY": "cookie:balancer_sticky"},
            f'BALANCER_SPLIT__KEY: "cookie:balancer_sticky" is {OWN} (STICKY__COOKIE), so users would change '
            "sides; name another cookie",
            id="a split by a sticky cookie",
        ),
        pytest.param(
            {**STICKY, "SPLIT__COOKIE": "balancer_sticky_new"},
            f'BALANCER_SPLIT__COOKIE: "balancer_sticky_new" is {OWN} (POOLS__NEW__STICKY__COOKIE) too; give '
            "one of them another name",
            id="one name for two of ours",
        ),
        pytest.param(
            {**OF_APP, "SPLIT__COOKIE": "SID"},
            f'BALANCER_SPLIT__COOKIE: "SID" is {TOKEN} too; give one of them another name',
            id="one name for ours and the app's",
        ),
        pytest.param(
            {**STICKY, **OF_APP, "POOLS__NEW__STICKY__APP_COOKIE": "balancer_sticky"},
            f'BALANCER_POOLS__NEW__STICKY__APP_COOKIE: "balancer_sticky" is {OWN} (STICKY__COOKIE) too; give '
            "one of them another name",
            id="the app's cookie in one pool, ours in another",
        ),
        pytest.param(
            {**OF_APP, "POOLS__API__POLICY": "consistent_hash", "POOLS__API__HASH_KEY": "cookie:SID"},
            f'BALANCER_POOLS__API__HASH_KEY: "cookie:SID" is {TOKEN}; name another cookie',
            id="a hash key that another pool changes",
        ),
    ],
)
def test_nothing_goes_by_a_cookie_that_the_balancer_changes(values: dict[str, str], problem: str) -> None:
    assert problems(**values) == [problem]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({**OF_APP, **matching(cookies={"SID": "*"})}, id="whether there is a session"),
        pytest.param(
            {**OF_APP, "POOLS__NEW__POLICY": "consistent_hash", "POOLS__NEW__HASH_KEY": "cookie:SID"},
            id="the pool's own hash key",
        ),
        pytest.param({**STICKY, "POOLS__API__POLICY": "consistent_hash",
                      "POOLS__API__HASH_KEY": "cookie:shop"}, id="another cookie"),
        pytest.param({"SPLIT__KEY": "cookie:SID", **matching(cookies={"balancer_split": "*"})},
                     id="no cookie of ours"),
    ],
)  # fmt: skip
def test_other_cookies_may_be_named(values: dict[str, str]) -> None:
    load(environ(**values))


# --- paths


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("/a%3Bb", "is not in normal form, so no request could have it; write /a"),
        ("/a;b", "is not in normal form, so no request could have it; write /a"),
        ("/%2e%2e/a", "is not in normal form, so no request could have it; write /a"),
        ("/a/.%2E", "is not in normal form, so no request could have it; write /"),
        ("/a%0d%0aX:%20y", "has encoded control characters; write a path without them"),
        ("/a%7F", "has encoded control characters; write a path without them"),
        ("/café", "has characters that a path cannot have; write /caf%C3%A9"),
        ("/a#b", "has characters that a path cannot have; write /a%23b"),
    ],
)
def test_a_path_that_no_request_has_is_refused(prefix: str, text: str) -> None:
    (problem,) = problems(**matching(path_prefix=prefix))
    assert problem == f'BALANCER_ROUTES: route 1 (x): match.path_prefix: "{prefix}" {text}'
    (problem,) = problems(**matching(path=prefix))
    assert problem == f'BALANCER_ROUTES: route 1 (x): match.path: "{prefix}" {text}'


PIECES = ["/", "a", ".", "..", "%2e", "%2E", "%61", "%25", "%2f", "%3b", ";", "%5c", "%0d", "%C3%A9", "~"]


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_a_path_that_is_accepted_is_one_that_a_request_can_have(text: str) -> None:
    path = f"/{text}"
    try:
        check_prefix(path)
    except ValueError:
        return
    form = matched_form(path)
    try:
        normal = normal_path.normal_path(path.encode())
    except ProtocolError as error:
        raise AssertionError(error.detail) from None
    assert form == normal_path.matched_form(path.encode()) == normal_path.matched_form(normal)
    assert set(normal_path.other_readings(normal)) <= {form}
    assert is_below(path, path)
    assert is_below(path, "/")
