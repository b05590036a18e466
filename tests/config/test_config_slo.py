"""Promises and buckets in the settings: values, where they come from, and what is refused."""

import json
from collections.abc import Mapping

import pytest

from balancer.config.loader import load, load_with_origins
from balancer.config.slo import format_share, parse_share
from balancer.edges import DEFAULT, MOST_OWN
from balancer.errors import SettingsError
from balancer.runtime.blueprint import instance_spec
from balancer.spec.instance import InstanceSpec

DEFAULTS = (0.95, 0.01, 2_592_000.0)
POOLS = {"POOLS__STABLE__UPSTREAMS": "s:80", "POOLS__CANARY__UPSTREAMS": "c:80"}


def given(**environ: str) -> dict[str, str]:
    return {f"BALANCER_{name}": value for name, value in environ.items()}


def spec(**environ: str) -> InstanceSpec:
    return instance_spec(load(given(**environ)), via="", max_connections=10)


def promised(**environ: str) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    return {
        (slo.route, slo.pool): (slo.latency, slo.percentile, slo.errors, slo.window)
        for slo in spec(**environ).slos
    }


def routes(*routes: Mapping[str, object]) -> str:
    return json.dumps(list(routes))


def test_nothing_is_promised_unless_a_latency_is_set() -> None:
    assert promised(UPSTREAMS="a:1") == {}


def test_the_rest_of_a_promise_has_defaults() -> None:
    assert promised(UPSTREAMS="a:1", SLO__LATENCY="300ms") == {("default", "default"): (0.3, *DEFAULTS)}


def test_each_value_can_be_set() -> None:
    values = {"LATENCY": "1s", "PERCENTILE": "99.9", "ERRORS": "0.05%", "WINDOW": "7d"}
    (found,) = promised(UPSTREAMS="a:1", **{f"SLO__{name}": value for name, value in values.items()}).values()
    assert found == pytest.approx((1.0, 0.999, 0.0005, 604_800.0))


def test_the_top_is_the_default_of_every_pool() -> None:
    assert promised(
        **POOLS,
        SLO__LATENCY="300ms",
        POOLS__CANARY__SLO__LATENCY="500ms",
        ROUTES="/api/=stable, /=canary",
    ) == {("stable", "stable"): (0.3, *DEFAULTS), ("canary", "canary"): (0.5, *DEFAULTS)}


def test_a_pool_may_promise_nothing() -> None:
    found = promised(
        **POOLS, SLO__LATENCY="300ms", POOLS__CANARY__SLO__LATENCY="0", ROUTES="/a=stable, /=canary"
    )
    assert list(found) == [("stable", "stable")]


def test_a_route_over_several_pools_promises_what_each_of_them_does() -> None:
    found = promised(
        **POOLS, SLO__LATENCY="300ms", POOLS__CANARY__SLO__ERRORS="5%", ROUTES="/=stable:90|canary:10"
    )
    assert found == {
        ("stable-canary", "stable"): (0.3, *DEFAULTS),
        ("stable-canary", "canary"): (0.3, 0.95, 0.05, 2_592_000.0),
    }


def test_a_route_overrides_what_it_sets_itself() -> None:
    web = {"name": "web", "split": {"stable": 1, "canary": 1}, "slo": {"latency": "2s", "percentile": 99}}
    found = promised(**POOLS, SLO__LATENCY="300ms", POOLS__CANARY__SLO__ERRORS="5%", ROUTES=routes(web))
    assert found == {
        ("web", "stable"): (2.0, 0.99, 0.01, 2_592_000.0),
        ("web", "canary"): (2.0, 0.99, 0.05, 2_592_000.0),
    }


def test_a_route_may_promise_nothing() -> None:
    report = {"pool": "stable", "match": {"path_prefix": "/report"}, "slo": {"latency": 0}}
    found = promised(**POOLS, SLO__LATENCY="300ms", ROUTES=routes(report, {"pool": "canary"}))
    assert list(found) == [("canary", "canary")]


def test_requests_that_no_pool_serves_have_no_promise() -> None:
    answer = {"match": {"path": "/hello"}, "respond": {"text": "hi"}}
    found = promised(UPSTREAMS="a:1", SLO__LATENCY="300ms", ROUTES=routes(answer, {"pool": "default"}))
    assert list(found) == [("default", "default")]


@pytest.mark.parametrize(
    ("environ", "own"),
    [
        ({}, ()),
        ({"SLO__LATENCY": "250ms"}, ()),
        ({"SLO__LATENCY": "300ms"}, (0.3,)),
        ({"METRICS__BUCKETS": "100ms, 750ms, 1s", "SLO__LATENCY": "300ms"}, (0.3, 0.75)),
        ({"ROUTES": '[{"pool": "default", "slo": {"latency": "1.2s"}}]'}, (1.2,)),
    ],
    ids=["none", "a default bound", "a latency", "chosen ones too", "that of a route"],
)
def test_every_latency_and_every_chosen_bucket_is_counted(
    environ: dict[str, str], own: tuple[float, ...]
) -> None:
    assert spec(UPSTREAMS="a:1", **environ).worker.edges == (*DEFAULT, *own)


def test_buckets_are_the_chosen_ones() -> None:
    assert spec(UPSTREAMS="a:1").buckets == DEFAULT
    assert spec(UPSTREAMS="a:1", METRICS__BUCKETS="0.1, 1, 2.5s").buckets == (0.1, 1.0, 2.5)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"SLO__LATENCY": "0.5ms"},
            'BALANCER_SLO__LATENCY: "0.5ms" is not between 1ms and 1h; write a time such as 300ms, or 0 for '
            "no promise",
        ),
        (
            {"SLO__PERCENTILE": "100"},
            'BALANCER_SLO__PERCENTILE: "100" is too large; the maximum is 99.999',
        ),
        ({"SLO__PERCENTILE": "5"}, 'BALANCER_SLO__PERCENTILE: "5" is too small; the minimum is 50'),
        (
            {"SLO__ERRORS": "1"},
            'BALANCER_SLO__ERRORS: "1" is 100% of all requests; write a smaller share, such as 1% or 0.01',
        ),
        (
            {"SLO__ERRORS": "0"},
            'BALANCER_SLO__ERRORS: "0" leaves nothing that could be spent on a failure; write a share above '
            "0, such as 0.01%",
        ),
        ({"SLO__ERRORS": "few"}, 'BALANCER_SLO__ERRORS: "few" is not a share; write 1% or 0.01'),
        ({"SLO__WINDOW": "60s"}, 'BALANCER_SLO__WINDOW: "60s" is too small; the minimum is 1h'),
        (
            {"METRICS__BUCKETS": "1s,500ms"},
            'BALANCER_METRICS__BUCKETS: ["1s", "500ms"] has 500ms after 1s; write each bound once, in '
            "ascending order",
        ),
        (
            {"METRICS__BUCKETS": "[]"},
            "BALANCER_METRICS__BUCKETS: [] has no bound; write 100ms,250ms,1s, or leave it out for the "
            "default ones",
        ),
        (
            {"METRICS__BUCKETS": "0,1s"},
            'BALANCER_METRICS__BUCKETS: ["0", "1s"] has the bound 0, up to which nothing can be; remove it',
        ),
        (
            {"ROUTES": '[{"pool": "default", "slo": {"errors": "200%"}}]'},
            'BALANCER_ROUTES: route 1: slo.errors: "200%" is 200% of all requests; write a smaller share, '
            "such as 1% or 0.01",
        ),
        (
            {"ROUTES": '[{"redirect": "https", "slo": {"latency": "1s"}}, {"pool": "default"}]'},
            "BALANCER_ROUTES: route 1: has slo, which has no effect without a pool; remove it",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_can_be_no_promise_is_refused(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(given(UPSTREAMS="a:1", **environ))
    assert caught.value.problems == [problem]


def test_more_bounds_than_can_be_counted_are_refused() -> None:
    most = ",".join(f"{2 + at}s" for at in range(MOST_OWN + 1) if 2 + at not in (5, 10))
    load(given(UPSTREAMS="a:1", METRICS__BUCKETS=most))
    with pytest.raises(SettingsError) as caught:
        load(given(UPSTREAMS="a:1", METRICS__BUCKETS=f"{most},40s,41s", SLO__LATENCY="300ms"))
    (problem,) = caught.value.problems
    assert problem.startswith(
        "BALANCER_METRICS__BUCKETS: the buckets and the latencies of SLOs have 14 bounds besides the default "
        "ones (300ms, 2s, 3s, 4s, 6s, "
    )
    assert (
        "; at most 12 can be counted: choose fewer, or some of the default ones, which are 1ms, " in problem
    )


def test_an_instance_that_has_counted_many_bounds_has_no_room_for_more() -> None:
    counted = (*DEFAULT, *(40.0 + at for at in range(MOST_OWN)))
    settings = load(given(UPSTREAMS="a:1", SLO__LATENCY="300ms"))
    with pytest.raises(SettingsError, match=r"no room for 300ms \(at most 12\): run balancer replace"):
        instance_spec(settings, via="", max_connections=10, counted=counted)
    kept = instance_spec(settings, via="", max_connections=10, counted=counted[:-1]).worker.edges
    assert kept == (*counted[:-1], 0.3)


@pytest.mark.parametrize(
    "environ",
    [
        {"SLO__PERCENTILE": "99"},
        {"SLO__ERRORS": "2%"},
        {"SLO__WINDOW": "7d"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_promise_without_a_latency_has_no_effect(environ: dict[str, str]) -> None:
    (warning,) = load_with_origins(given(UPSTREAMS="a:1", **environ)).warnings
    assert warning.endswith(
        "has no effect while no SLO__LATENCY is set: nothing is promised; set it, or remove this"
    )


def test_a_route_that_promises_nothing_but_a_share_is_reported() -> None:
    web = {"name": "web", "pool": "default", "slo": {"errors": "2%"}}
    (warning,) = load_with_origins(given(UPSTREAMS="a:1", ROUTES=routes(web))).warnings
    assert warning == (
        "BALANCER_ROUTES: route 1 (web): slo.errors: has no effect while no SLO__LATENCY is set: nothing is "
        "promised; set it, or remove this"
    )


@pytest.mark.parametrize("text", ["1%", "0.5%", "0.001%", "12.5%", "99%"])
def test_a_share_is_written_as_it_is_read(text: str) -> None:
    assert format_share(parse_share(text)) == text


def test_a_share_may_be_a_number() -> None:
    assert parse_share(0.01) == parse_share("0.01") == parse_share("1 %") == 0.01


@pytest.mark.parametrize(
    "latency",
    [
        {"SLO__LATENCY": "1s"},
        {"POOLS__API__UPSTREAMS": "a:2", "POOLS__API__SLO__LATENCY": "1s", "ROUTES": "/api/=api, /=default"},
        {"ROUTES": '[{"pool": "default", "slo": {"latency": "1s"}}]'},
    ],
    ids=["the same place", "a pool", "a route"],
)
def test_a_share_has_an_effect_wherever_a_latency_is_set(latency: dict[str, str]) -> None:
    assert load_with_origins(given(UPSTREAMS="a:1", SLO__ERRORS="2%", **latency)).warnings == ()
