"""From settings to specs: the field and unit of each setting."""

from pathlib import Path
from typing import Any

import pytest

from balancer.config.file_stamps import stamps
from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND
from balancer.config.pair_files import PairFiles
from balancer.config.settings import Settings
from balancer.errors import SettingsError
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.plan import Plan, decode
from balancer.runtime.planning import read
from balancer.spec.instance import CheckSpec, EjectionSpec, InstanceSpec, NameSpec, UpstreamSpec
from balancer.spec.part import Decoder, encode, replaced
from balancer.spec.tls import TlsSpec
from balancer.spec.worker import (
    FOREVER_NS,
    AccessLogSpec,
    AdaptiveSpec,
    KeepaliveSpec,
    OutlierSpec,
    PolicySpec,
    PoolSpec,
    QueueSpec,
    RetryRules,
    SideSpec,
    StickySpec,
)
from tests.fakes.certificates import authority, pair_in, text_of

SECOND = 10**9


def made(upstreams: str = "app1:8000", workers: int = 3, **values: Any) -> InstanceSpec:
    text: Any = upstreams
    settings = Settings(upstreams=text, workers=workers, **values)
    return instance_spec(settings, via="balancer-0123abcd", max_connections=100)


def pool_of(**values: Any) -> PoolSpec:
    (pool,) = made(**values).worker.pools
    return pool


def test_the_worker_spec_has_every_setting_but_the_workers_place() -> None:
    worker = made(access_log={"sample": 0.5, "fields": "time,status"}, log_level="debug").worker
    assert (worker.workers, worker.via, worker.drain, worker.log_level) == (
        *(3, "balancer-0123abcd", 25.0, "debug"),
    )
    assert worker.access_log == AccessLogSpec(enabled=True, sample=0.5, fields=("time", "status"))
    (route,), (pool,) = worker.routes, worker.pools
    assert (route.name, route.sides) == ("default", (SideSpec(pool="default", retry=pool.retry),))
    assert worker.listener.limits.max_connections == 100  # of all workers


def test_a_listener_spec_is_in_nanoseconds_and_bytes() -> None:
    worker = made(
        listen="127.0.0.1:0",
        timeouts={"connect": "500ms", "first_byte": "2s", "total": "1m", "client_idle": "0.001s"},
        limits={"header_bytes": "16k"},
        trusted_proxies="10.0.0.0/8",
        forwarded={"drop": "X-Acme-*", "keep": "X-Forwarded-Prefix"},
        request_trailers=True,
    ).worker
    listener = worker.listener
    assert listener.name == "127.0.0.1:0"
    (route,), (pool,) = worker.routes, worker.pools
    assert (route.timeouts.first_byte_ns, route.timeouts.total_ns) == (2 * SECOND, 60 * SECOND)
    assert (pool.connect, listener.timeouts.client_idle_ns) == (0.5, SECOND // 1000)
    assert listener.limits.header_bytes == 16384
    assert listener.trusted_proxies == ("10.0.0.0/8",)
    assert listener.forwarded.told == (*(name.lower() for name in ONLY_PROXIES_MAY_SEND), "x-acme-*")
    assert listener.forwarded.kept == ("x-forwarded-prefix",)
    assert listener.request_trailers


def test_a_disabled_timeout_never_fires() -> None:
    names = ("connect", "first_byte", "idle", "total", "request_head", "client_idle", "tunnel_idle")
    worker = made(timeouts=dict.fromkeys(names, 0)).worker
    (route,), (pool,) = worker.routes, worker.pools
    assert pool.connect is None
    of_route = {name: getattr(route.timeouts, f"{name}_ns", 0) for name in names}
    of_listener = {name: getattr(worker.listener.timeouts, f"{name}_ns", 0) for name in names}
    assert [of_route[name] or of_listener[name] for name in names[1:]] == [FOREVER_NS] * 6


def test_no_time_for_tunnels_in_a_drain_is_none() -> None:
    (route,) = made(timeouts={"tunnel_drain": 0}).worker.routes
    assert route.timeouts.tunnel_drain_ns == 0
    (route,) = made(timeouts={}).worker.routes
    assert route.timeouts.tunnel_drain_ns == 10 * SECOND


# Settings -> the field of the pool spec, and its value.
POOL: dict[str, tuple[dict[str, Any], str, object]] = {
    "policy": (
        {"policy": "consistent_hash", "policy_options": '{"replicas": 3, "bounded_load": 1.5}'},
        "policy",
        PolicySpec(name="consistent_hash", options=(("bounded_load", 1.5), ("replicas", 3))),
    ),
    "hash key": ({"hash_key": "header:X-User"}, "hash_key", "header:X-User"),
    "panic": ({"panic": "off"}, "panic", False),
    "slow start": ({"slow_start": "30s"}, "slow_start_ns", 30 * SECOND),
    "keepalive": (
        {"keepalive": {"idle_timeout": "2s", "max_lifetime": "1h"}},
        "keepalive",
        KeepaliveSpec(
            max_idle=64,
            idle_timeout_ns=2 * SECOND,
            max_requests=0,
            max_lifetime_ns=3600 * SECOND,
            learn=True,
        ),
    ),
    "retry": (
        {"retry": {"max_attempts": 5, "methods": "GET,PUT", "statuses": "503"}},
        "retry",
        RetryRules(
            max_attempts=5,
            statuses=frozenset([503]),
            methods=frozenset([b"GET", b"PUT"]),
            replay_bytes=65536,
            budget_ratio=0.2,
            budget_floor=10.0,
        ),
    ),
    "a queue": ({}, "queue", QueueSpec(size=1000, timeout=5.0)),
    "a queue of its own": (
        {"limits": {"max_inflight": 10, "queue_size": 50, "queue_timeout": "2s"}},
        "queue",
        QueueSpec(size=50, timeout=2.0),
    ),
    "no request may wait": ({"limits": {"max_inflight": 10, "queue_size": 0}}, "queue", None),
    "no upstream can be full": ({"adaptive": {"enabled": False}}, "queue", None),
    "without adaptive limits a cap is as good a reason": (
        {"adaptive": {"enabled": False}, "limits": {"max_inflight": 10}},
        "queue",
        QueueSpec(size=1000, timeout=5.0),
    ),
    "adaptive": ({"adaptive": {"min_limit": 4}}, "adaptive", AdaptiveSpec(min_limit=4, max_limit=10_000)),
    "not adaptive": ({"adaptive": {"enabled": False}}, "adaptive", None),
    "outliers": ({}, "outlier", OutlierSpec(consecutive_5xx=5, consecutive_failures=3)),
    "outliers without checks": (
        {"health_check": {"enabled": False}, "outlier": {"consecutive_5xx": 7}},
        "outlier",
        OutlierSpec(consecutive_5xx=7, consecutive_failures=3),
    ),
    "no outliers": ({"outlier": {"enabled": False}}, "outlier", None),
    "not sticky": ({}, "sticky", None),
    "sticky": (
        {"sticky": {"enabled": True, "secret": "grün", "max_age": "12h", "same_site": "strict"}},
        "sticky",
        StickySpec(
            secret="grün".encode(),
            app_cookie=b"",
            cookie=b"balancer_sticky",
            path="/",
            domain="",
            max_age=12 * 3600,
            secure=False,
            http_only=True,
            same_site="strict",
        ),
    ),
}


@pytest.mark.parametrize("case", POOL)
def test_pool_settings_become_their_spec(case: str) -> None:
    values, field, expected = POOL[case]
    assert getattr(pool_of(**values), field) == expected


@pytest.mark.parametrize("value", ["[1]", "null", '{"b": 1}'])
def test_an_unknown_policy_option_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="BALANCER_POLICY_OPTIONS: a is not a number"):
        made(policy_options=f'{{"a": {value}}}')


def test_members_are_upstreams_and_names_to_look_up() -> None:
    (pool,) = made("app1:8000?weight=3,[::1]:80?backup=true,dns://app:9000?refresh=5s").pools
    assert pool.upstreams == (
        UpstreamSpec(id="app1:8000", host="app1", port=8000, weight=3, backup=False),
        UpstreamSpec(id="[::1]:80", host="::1", port=80, weight=1, backup=True),
    )
    assert pool.names == (
        NameSpec(id="dns://app:9000", host="app", port=9000, weight=1, backup=False, refresh=5.0),
    )


def test_checks_and_discovery_of_a_pool_belong_to_the_supervisor() -> None:
    (pool,) = made(
        limits={"max_inflight": 20},
        outlier={"ejection_time": "5s", "max_ejection_percent": 30},
        health_check={
            "path": "/healthz",
            "interval": "500ms",
            "expect": "200,300-399",
            "headers": {"Host": "app.example"},
            "drain_status": 503,
        },
    ).pools
    assert pool.max_inflight == 20
    assert pool.ejection == EjectionSpec(time=5.0, max_time=300.0, max_percent=30)
    assert pool.check == CheckSpec(
        path="/healthz",
        interval=0.5,
        timeout=1.0,
        rise=2,
        fall=2,
        expect=((200, 200), (300, 399)),
        body="",
        port=0,
        headers=(("Host", "app.example"),),
        drain_status=503,
    )


def test_without_checks_the_spec_has_none() -> None:
    (pool,) = made(health_check={"enabled": False}).pools
    assert pool.check is None


def test_equal_settings_give_equal_specs_that_survive_the_wire() -> None:
    values: dict[str, Any] = {"sticky": {"enabled": True, "secret": "s"}, "retry": {"methods": "PUT,GET"}}
    spec = made(**values)
    assert spec == made(**values)
    assert hash(spec) == hash(made(**values))
    assert Decoder[InstanceSpec](InstanceSpec).decode(encode(spec)) == spec


def test_there_is_a_tls_listener_if_certificates_were_read(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(text_of(authority().cert_pem))
    environ = {
        "BALANCER_UPSTREAMS": "app1:8000",
        "BALANCER_TLS__CERTIFICATES": f"{certificate}:{key}",
        "BALANCER_TLS__MIN_VERSION": "1.3",
        "BALANCER_TLS__CLIENT_CA": str(ca),
        "BALANCER_TLS__REDIRECT": "true",
        "BALANCER_TLS__HSTS": "max-age=60",
        "BALANCER_TLS__PUBLIC_PORT": "8443",
    }
    found = read(environ, None)
    assert isinstance(found, Plan)
    tls = found.instance.worker.tls
    assert tls is not None
    (spec,) = tls.certificates
    assert (spec.label, spec.names) == (str(certificate), ("shop.example",))
    assert spec.chain == certificate.read_bytes()
    assert b"-----BEGIN PRIVATE KEY-----" in spec.key
    assert replaced(tls, certificates=()) == TlsSpec(
        name=str(tls.name),
        min_version="1.3",
        certificates=(),
        client_ca=ca.read_bytes(),
        client_required=True,
        public_port=8443,
        redirect=True,
        hsts="max-age=60",
    )
    assert found.tls is not None
    assert found.tls.files.pairs == (PairFiles(str(certificate), str(key)),)
    assert found.tls.files.stamps == stamps([str(certificate), str(key), str(ca)])
    assert decode(encode(found)) == found
    optional = read({**environ, "BALANCER_TLS__CLIENT_CERTIFICATES": "optional"}, None)
    assert isinstance(optional, Plan)
    assert optional.instance.worker.tls == replaced(tls, client_required=False)


def test_there_is_none_otherwise() -> None:
    found = read({"BALANCER_UPSTREAMS": "app1:8000", "BALANCER_TLS__PUBLIC_PORT": "8443"}, None)
    assert isinstance(found, Plan)
    assert (found.tls, found.instance.worker.tls) == (None, None)
