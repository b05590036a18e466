"""What routes and splits set without effect, and what their values may be written as."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.config.effective import as_yaml
from balancer.config.loader import load, load_with_origins
from balancer.config.routes import RouteSettings
from balancer.errors import SettingsError
from balancer.policies import registry
from balancer.runtime.blueprint import instance_spec

POOLS = {"UPSTREAMS": "w:80", "POOLS__API__UPSTREAMS": "a:80"}
API = {"path_prefix": "/api"}
SPLIT = "/=api:1|default:1"


def environ(routes: object, **values: str) -> dict[str, str]:
    text = routes if isinstance(routes, str) else json.dumps(routes)
    return {f"BALANCER_{name}": value for name, value in {**POOLS, "ROUTES": text, **values}.items()}


def loaded(routes: object, **values: str) -> tuple[RouteSettings, ...]:
    return load(environ(routes, **values)).routes


def problems(routes: object, **values: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ(routes, **values))
    return [one.removeprefix("BALANCER_ROUTES: ") for one in caught.value.problems]


def warnings(routes: object, **values: str) -> list[str]:
    return list(load_with_origins(environ(routes, **values), None, registry).warnings)


# --- no effect


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (
            {"redirect": "https", "timeouts": {"idle": "3s"}},
            "has timeouts, which has no effect without a pool; remove it",
        ),
        (
            {"respond": 503, "limits": {"body_bytes": "1M"}},
            "has limits, which has no effect without a pool; remove it",
        ),
        (
            {"match": API, "pool": "api", "replace_prefix": "/v2", "strip_prefix": False},
            "has a replace_prefix, but strip_prefix is false; remove one of them",
        ),
        (
            {"match": {"path_prefix": "/"}, "pool": "api", "strip_prefix": True},
            "has strip_prefix, which has no effect for /; remove it",
        ),
        (
            {"match": API, "pool": "api", "strip_prefix": "/web"},
            "has a strip_prefix (/web) that none of its paths begins with; write true, or a "
            "beginning of /api",
        ),
        (
            {"pool": "api", "request_headers": {"set": {"X-A": "1"}, "remove": "x-a"}},
            "request_headers: names x-a twice in set and remove; keep one of them",
        ),
        (
            {"split": {"api": 1, "default": 1, "fallback": True}},
            "split: has pools beside fallback or keep; write sides: {stable: 90, canary: 10} for them",
        ),
    ],
)  # fmt: skip
def test_what_can_have_no_effect_is_refused(route: dict[str, Any], text: str) -> None:
    assert problems([{"name": "x", **route}]) == [f"route 1 (x): {text}"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="list"),
        pytest.param(1, id="number"),
        pytest.param({}, id="mapping"),
        pytest.param("", id="empty"),
    ],
)
def test_strip_prefix_is_a_boolean_or_a_path(value: object) -> None:
    (problem,) = problems([{"name": "x", "match": API, "pool": "api", "strip_prefix": value}])
    assert problem.startswith("route 1 (x): strip_prefix: ")
    assert problem.endswith("is neither true nor a path; write true, or the path to take off: /api")


@pytest.mark.parametrize(
    ("value", "stripped"),
    [
        (True, ("/api",)),
        ("yes", ("/api",)),
        (False, ()),
        ("off", ()),
        ("/api/v1", ("/api/v1",)),
        ("/", ("/",)),
    ],
)
def test_a_prefix_may_be_stripped_in_part(value: object, stripped: tuple[str, ...]) -> None:
    replaced = {"replace_prefix": "/x"} if value == "/" else {}
    (route, _) = loaded([{"match": API, "pool": "api", "strip_prefix": value, **replaced}, "/=default"])
    assert route.prefixes == stripped


def test_users_are_kept_by_our_cookie_only() -> None:
    route = {"name": "x", "split": {"sides": {"api": 0, "default": 1}, "keep": True}}
    loaded([route])
    assert problems([route], SPLIT__KEY="client_ip") == [
        "route 1 (x): split.keep: has no effect while SPLIT__KEY is client_ip; set it to "
        "cookie, or remove this"
    ]


UNSPLIT = "while no route is split; write a route such as /=stable:90|canary:10, or remove this"


@pytest.mark.parametrize(
    ("routes", "values", "text"),
    [
        (
            "/api=api, /=default",
            {"SPLIT__KEY": "client_ip"},
            f'BALANCER_SPLIT__KEY: "client_ip" has no effect {UNSPLIT}',
        ),
        (
            "/api=api, /=default",
            {"SPLIT__SECRET": "s3cret"},
            f"BALANCER_SPLIT__SECRET: ********** has no effect {UNSPLIT}",
        ),
        (
            SPLIT,
            {"SPLIT__KEY": "client_ip", "SPLIT__COOKIE": "side"},
            'BALANCER_SPLIT__COOKIE: "side" has no effect while SPLIT__KEY is not cookie; set '
            "it to cookie, or "
            "remove this",
        ),
        (
            [{"name": "x", "split": "api:1|default:1", "timeouts": {"total": "5s", "first_byte": "9s"}}],
            {},
            "BALANCER_ROUTES: route 1 (x): timeouts.first_byte: has no effect because "
            "TIMEOUTS__TOTAL (5s) is "
            "not longer; raise TIMEOUTS__TOTAL, or lower this",
        ),
        (
            [{"name": "x", "match": API, "pool": "api", "retry": {"statuses": "500"}}, "/=default"],
            {"POOLS__API__RETRY__MAX_ATTEMPTS": "1"},
            "BALANCER_ROUTES: route 1 (x): retry.statuses: has no effect while RETRY__MAX_ATTEMPTS is 1: "
            "nothing is sent again; raise it, or remove this",
        ),
    ],
)
def test_what_has_no_effect_now_is_reported(routes: object, values: dict[str, str], text: str) -> None:
    assert warnings(routes, **values) == [text]


def test_what_has_an_effect_in_one_pool_of_a_split_is_not_reported() -> None:
    route = {"split": "api:1|default:1", "retry": {"statuses": "500"}}
    assert warnings([route], POOLS__API__RETRY__MAX_ATTEMPTS="1") == []


def test_instance_settings_are_reported_without_a_default_pool_too() -> None:
    (warning,) = load_with_origins(
        {"BALANCER_POOLS__API__UPSTREAMS": "a:1", "BALANCER_SPLIT__KEY": "client_ip"}
    ).warnings
    assert warning == f'BALANCER_SPLIT__KEY: "client_ip" has no effect {UNSPLIT}'


# --- names


def test_a_pool_is_not_called_as_the_route_of_all_other_requests() -> None:
    found = problems("/=default", POOLS__UNMATCHED__UPSTREAMS="u:1")
    assert (
        'BALANCER_POOLS__UNMATCHED__UPSTREAMS: "unmatched" is the name of the route of '
        "requests that no other "
        "matches; choose another name"
    ) in found


def test_the_names_of_routes_to_many_pools_are_short_and_differ() -> None:
    names = [f"{'long' * 9}{number}" for number in range(4)]
    pools = {f"POOLS__{name.upper()}__UPSTREAMS": "a:1" for name in names}
    split = "|".join(f"{name}:1" for name in names)
    found = [route.name for route in loaded(f"/a={split}, /b={split}, /c=api, /=default", **pools)]
    assert found == [f"{names[0]}-and-3-more", f"{names[0]}-and-3-more-2", "api", "default"]
    assert max(map(len, found)) <= 64


# --- spelling


@pytest.mark.parametrize("text", ["[::1]/=api, /=default", "[2001:db8::1]=api, /=default"])
def test_the_short_form_may_begin_with_an_address_in_brackets(text: str) -> None:
    (first, _) = loaded(text)
    assert (first.match.host[0][:1], first.pool) == ("[", "api")


NO_TEXT = "has characters that are not UTF-8 text; write it again"


@pytest.mark.parametrize(
    "text",
    [
        '[{"match": {"query": {"a": "\\ud800"}}, "pool": "api"}]',
        '[{"match": {"headers": {"\\ud800": "1"}}, "pool": "api"}]',
        '[{"respond": {"text": "\\ud800"}}]',
        '[{"pool": "\\ud800"}]',
        '[{"split": {"\\ud800": 1, "api": 1}}]',
    ],
)
def test_half_a_character_in_json_is_refused(text: str) -> None:
    assert problems(text) == [NO_TEXT]


def test_bytes_that_are_not_utf8_are_refused() -> None:
    found = problems(os.fsdecode(b'[{"name": "x", "respond": {"text": "caf\xe9"}}]'))
    assert found == [NO_TEXT]
    assert problems(SPLIT, SPLIT__SECRET=os.fsdecode(b"\xe9")) == [f"BALANCER_SPLIT__SECRET: {NO_TEXT}"]
    assert problems(os.fsdecode(b"/caf\xe9=api")) == [NO_TEXT]


def test_half_a_character_anywhere_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text('upstreams: w:80\n"\\ud800": {"\\ud800": 1}\n', encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load({}, str(file))
    assert caught.value.problems == [f"{file}: {NO_TEXT}"]


KEYS = [
    *RouteSettings.model_fields,
    *("host", "path", "path_prefix", "methods", "headers", "query", "cookies", "sides", "weight", "fallback"),
    *("keep", "to", "status", "text", "file", "content_type", "set", "add", "remove", "total", "body_bytes"),
    *("max_attempts", "statuses", "replay_bytes"),
]
WORDS = ["api", "default", "/a", "/%c3%a9", "a.x", "*.x", "*", "https", "$uri", "GET", "X-A", "5s", "[::1]"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(WORDS)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner)
    ),
    max_leaves=8,
)
ROUTE = st.fixed_dictionaries(
    {"pool": st.sampled_from(["api", "default"])},
    optional={key: TREES for key in RouteSettings.model_fields if key != "pool"},
)


@given(st.lists(ROUTE | TREES, max_size=3) | TREES)
def test_any_routes_are_specs_or_sentences(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    try:
        settings = load(environ(json.dumps(value)))
    except SettingsError as error:
        said = error.problems
    else:
        said = []
        instance_spec(settings, via="x", max_connections=10)
        file = Path(tmp_path_factory.getbasetemp()) / "again.yaml"
        file.write_text(as_yaml(settings), encoding="utf-8")
        assert load({}, str(file)).routes == settings.routes
    assert all(one.isprintable() for one in said)
