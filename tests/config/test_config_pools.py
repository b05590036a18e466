"""Several pools: each has its own value of a setting, or that of the top of the tree."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from balancer.config.effective import as_yaml, effective
from balancer.config.loader import Loaded, load, load_with_origins
from balancer.config.upstream_spec import UpstreamSpec
from balancer.errors import SettingsError
from balancer.policies import registry

API = {"BALANCER_POOLS__API__UPSTREAMS": "a1:80,a2:80"}
BOTH = {"BALANCER_UPSTREAMS": "w:80", **API, "BALANCER_ROUTES": "/api=api, /=default"}


def problems(environ: Mapping[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_with_origins(environ, None if file is None else str(file), registry)
    return caught.value.problems


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "balancer.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_pool_has_the_values_of_the_top_and_its_own() -> None:
    settings = load(
        {
            **BOTH,
            "BALANCER_POLICY": "round_robin",
            "BALANCER_RETRY__MAX_ATTEMPTS": "5",
            "BALANCER_RETRY__METHODS": "GET",
            "BALANCER_TIMEOUTS__CONNECT": "3s",
            "BALANCER_POOLS__API__RETRY__MAX_ATTEMPTS": "2",
            "BALANCER_POOLS__API__LIMITS__MAX_INFLIGHT": "7",
            "BALANCER_POOLS__API__HEALTH_CHECK__PATH": "/health",
        }
    )
    api = settings.pools["api"]
    assert api.upstreams == (UpstreamSpec("a1", 80), UpstreamSpec("a2", 80))
    assert (api.policy, api.retry.max_attempts, api.retry.methods) == ("round_robin", 2, ("GET",))
    assert (api.timeouts.connect, api.limits.max_inflight) == (3.0, 7)
    assert (api.health_check.path, settings.health_check.path) == ("/health", "/")
    assert (settings.retry.max_attempts, settings.limits.max_inflight) == (5, 0)


def test_a_pool_may_have_timeouts_and_the_body_limit_of_its_routes() -> None:
    environ = {
        "BALANCER_TIMEOUTS__FIRST_BYTE": "3s",
        "BALANCER_TIMEOUTS__TOTAL": "20s",
        "BALANCER_LIMITS__BODY_BYTES": "1M",
        "BALANCER_POOLS__API__TIMEOUTS__FIRST_BYTE": "9s",
        "BALANCER_POOLS__API__TIMEOUTS__IDLE": "8s",
        "BALANCER_POOLS__API__TIMEOUTS__TUNNEL_IDLE": "7s",
        "BALANCER_POOLS__API__TIMEOUTS__TUNNEL_DRAIN": "6s",
        "BALANCER_POOLS__API__LIMITS__BODY_BYTES": "2M",
    }
    settings = load({**BOTH, **environ})
    timeouts = settings.pools["api"].timeouts
    assert (timeouts.first_byte, timeouts.idle, timeouts.total) == (9.0, 8.0, 20.0)
    assert (timeouts.tunnel_idle, timeouts.tunnel_drain) == (7.0, 6.0)
    assert settings.pools["api"].limits.body_bytes == 2 << 20
    assert (settings.timeouts.first_byte, settings.limits.body_bytes) == (3.0, 1 << 20)


def test_the_environment_overrides_a_pool_of_the_file(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "policy: random\npools:\n  api-v2:\n    upstreams: [a:1]\n    policy: round_robin\n"
        "    keepalive: {max_idle: 3, learn: false}\n  web:\n    upstreams: b:1\n"
        "routes: /api=api-v2, /=web\n",
    )
    environ = {"BALANCER_POOLS__WEB__POLICY": "power_of_two", "BALANCER_KEEPALIVE__MAX_IDLE": "9"}
    pools = load(environ, str(file)).pools
    assert (pools["api-v2"].policy, pools["web"].policy) == ("round_robin", "power_of_two")
    assert (pools["api-v2"].keepalive.max_idle, pools["api-v2"].keepalive.learn) == (3, False)
    assert pools["web"].keepalive.max_idle == 9


def test_one_pool_needs_neither_a_route_nor_upstreams_at_the_top() -> None:
    settings = load(API)
    assert (settings.upstreams, list(settings.pools), settings.routes) == ((), ["api"], ())


def test_what_is_exported_yields_the_same_settings(tmp_path: Path) -> None:
    settings = load({**BOTH, "BALANCER_POOLS__API__SLOW_START": "5s"})
    again = load({}, str(written(tmp_path, as_yaml(settings))))
    assert again.model_dump(exclude={"config"}) == settings.model_dump(exclude={"config"})


def test_the_effective_settings_show_what_a_pool_sets_itself() -> None:
    loaded: Loaded = load_with_origins({**BOTH, "BALANCER_POOLS__API__SLOW_START": "5s"})
    lines = {line.variable: (line.value, line.origin) for line in effective(loaded)}
    assert lines["BALANCER_POOLS__API__UPSTREAMS"] == ("a1:80, a2:80", "environment")
    assert lines["BALANCER_POOLS__API__SLOW_START"] == ("5s", "environment")
    assert "BALANCER_POOLS__API__POLICY" not in lines
    assert lines["BALANCER_ROUTES"] == ("/api=api, /=default", "environment")


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"BALANCER_POOLS__API__POLICY": "random", "BALANCER_UPSTREAMS": "w:80"},
            "BALANCER_POOLS__API__UPSTREAMS: is not set; name your app replicas, for example "
            "BALANCER_POOLS__API__UPSTREAMS=app1:8000,app2:8000",
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__POLICYY": "random"},
            "BALANCER_POOLS__API__POLICYY: no such setting; did you mean BALANCER_POOLS__API__POLICY?",
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__WORKERS": "2"},
            "BALANCER_POOLS__API__WORKERS: is not a setting of a pool; set BALANCER_WORKERS, which "
            "is for all, "
            "or remove it",
        ),
        (
            {**BOTH, "BALANCER_POOLS__API": "a:1"},
            "BALANCER_POOLS__API: is a group, not a setting; set one of its settings, for example "
            "BALANCER_POOLS__API__UPSTREAMS",
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__POLICY": "rando"},
            'BALANCER_POOLS__API__POLICY: "rando" is not a policy; did you mean random?',
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__LIMITS__MAX_INFLIGHT": "many"},
            'BALANCER_POOLS__API__LIMITS__MAX_INFLIGHT: "many" is not a whole number',
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__LIMITS__MAX_INFLIGHT": "1", "BALANCER_WORKERS": "2"},
            'BALANCER_POOLS__API__LIMITS__MAX_INFLIGHT: "1" is less than one for each of the 2 '
            "workers; raise "
            "it, or lower WORKERS",
        ),
        (
            {**BOTH, "BALANCER_POOLS__API__UPSTREAMS": "127.0.0.1:8080"},
            'BALANCER_POOLS__API__UPSTREAMS: "127.0.0.1:8080" is where this balancer itself listens (LISTEN '
            "0.0.0.0:8080): requests would loop forever; write the app's own address, or give LISTEN "
            "another port",
        ),
        (
            {**BOTH, "BALANCER_POOLS__DEFAULT__UPSTREAMS": "a:1"},
            'BALANCER_POOLS__DEFAULT__UPSTREAMS: "default" is the pool that UPSTREAMS defines; set '
            "UPSTREAMS, "
            "or choose another name",
        ),
        (
            {"BALANCER_UPSTREAMS": "w:80", **API},
            "BALANCER_ROUTES: is not set, but there are 2 pools; write, for example, /api/=api, /=default",
        ),
    ],
)
def test_a_mistake_in_a_pool_is_named_where_it_is(environ: dict[str, str], problem: str) -> None:
    assert problems(environ) == [problem]


def test_a_wrong_value_at_the_top_is_reported_once() -> None:
    assert problems({**BOTH, "BALANCER_RETRY__MAX_ATTEMPTS": "x"}) == [
        'BALANCER_RETRY__MAX_ATTEMPTS: "x" is not a whole number'
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pools: [a]\n", "pools: is a group, not a setting; write pools: {api: {upstreams: app1:8000}}"),
        ("pools:\n  api: a:1\n", "pools.api: is a pool; write its settings indented below it"),
        (
            "pools:\n  Api:\n    upstreams: a:1\n",
            'pools.Api.upstreams: "Api" is no name for a pool; write lower-case letters and digits, '
            "with single - "
            "or _ between them, 40 characters at most",
        ),
        (
            "pools:\n  api:\n    upstreams:\n",
            "pools.api.upstreams: has no value; give it one or remove the line",
        ),
        (
            "pools:\n  api:\n    retry: 3\n",
            "pools.api.retry: is a group, not a setting; write its settings indented below it",
        ),
        (
            "pools:\n  api:\n    upstreams: a:1\n    retry: {max: 3}\n",
            "pools.api.retry.max: no such setting; its group has max_attempts, statuses, methods, "
            "budget_ratio, "
            "budget_min_per_second, replay_bytes",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_where_it_is(tmp_path: Path, text: str, problem: str) -> None:
    file = written(tmp_path, f"upstreams: w:80\nroutes: /=default\n{text}")
    assert f"{file}: {problem}" in problems({}, file)


def test_a_setting_without_effect_in_a_pool_is_reported() -> None:
    loaded = load_with_origins(
        {
            **BOTH,
            "BALANCER_POOLS__API__HEALTH_CHECK__ENABLED": "false",
            "BALANCER_POOLS__API__HEALTH_CHECK__PATH": "/x",
        },
        None,
        registry,
    )
    assert loaded.warnings == (
        'BALANCER_POOLS__API__HEALTH_CHECK__PATH: "/x" has no effect while HEALTH_CHECK__ENABLED is '
        "false; set it "
        "to true, or remove this",
    )


def test_a_pool_that_no_route_names_is_reported() -> None:
    loaded = load_with_origins({**BOTH, "BALANCER_ROUTES": "/=default"})
    assert loaded.warnings == ("BALANCER_ROUTES: no route names the pool api, so it gets no requests",)
