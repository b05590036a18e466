"""Environment and file together: precedence, ignored variables, and the report of each mistake."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from balancer.config.access_log import ACCESS_LOG_FIELDS
from balancer.config.address import Address
from balancer.config.catalogue import BY_VARIABLE
from balancer.config.cpus import usable_cpus
from balancer.config.loader import load, load_with_origins
from balancer.config.upstream_spec import UpstreamSpec
from balancer.errors import SettingsError

_UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}


def test_one_variable_is_enough() -> None:
    loaded = load(_UPSTREAMS)
    assert loaded.upstreams == (UpstreamSpec("app1", 8000),)
    assert loaded.listen == Address("0.0.0.0", 8080)
    assert loaded.timeouts.connect == 1.0
    assert loaded.limits.header_bytes == 65536
    assert loaded.access_log.fields == ACCESS_LOG_FIELDS


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param("BALANCER_WORKERS", "3", 3, id="workers"),
        pytest.param("BALANCER_WORKERS", "auto", usable_cpus(), id="workers_auto"),
        pytest.param(
            "BALANCER_UPSTREAMS", '["a:1", "b:2"]', (UpstreamSpec("a", 1), UpstreamSpec("b", 2)), id="json"
        ),
        pytest.param("BALANCER_POLICY_OPTIONS", '{"choices": 2}', {"choices": 2}, id="json_object"),
        pytest.param("BALANCER_TIMEOUTS__FIRST_BYTE", "500ms", 0.5, id="duration"),
        pytest.param("BALANCER_LIMITS__BODY_BYTES", "64M", 64 << 20, id="size"),
        pytest.param("BALANCER_KEEPALIVE__MAX_IDLE", "0", 0, id="zero"),
        pytest.param("BALANCER_ACCESS_LOG__ENABLED", "off", False, id="bool"),
        pytest.param("BALANCER_ACCESS_LOG__FIELDS", "status, time", ("status", "time"), id="fields"),
        pytest.param("BALANCER_ACCESS_LOG__FIELDS", "all", ACCESS_LOG_FIELDS, id="all_fields"),
        pytest.param("BALANCER_ACCESS_LOG__SAMPLE", "0.1", 0.1, id="share"),
        pytest.param("BALANCER_TRUSTED_PROXIES", "10.0.0.0/8,::1", ("10.0.0.0/8", "::1/128"), id="networks"),
        pytest.param("BALANCER_TRUSTED_PROXIES", "[]", (), id="empty_list"),
        pytest.param("BALANCER_LOG_LEVEL", "DEBUG", "debug", id="upper_case"),
        pytest.param("BALANCER_POLICY", "", "least_connections", id="empty_is_not_set"),
    ],
)
def test_a_variable_sets_its_setting(variable: str, value: str, expected: object) -> None:
    loaded: Any = load({**_UPSTREAMS, variable: value})
    for part in BY_VARIABLE[variable].path:
        loaded = getattr(loaded, part)
    assert loaded == expected


def test_a_file_gives_the_same_settings_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "upstreams: [a:1, 'b:2?weight=3']\ntimeouts: {connect: 2, idle: 500ms}\nretry:\n"
        "limits: {body_bytes: 1M}\n"
    )
    environ = {"BALANCER_CONFIG": str(file), "BALANCER_TIMEOUTS__CONNECT": "3s", "BALANCER_WORKERS": "2"}
    loaded = load_with_origins(environ)
    got = loaded.settings
    assert got.upstreams == (UpstreamSpec("a", 1), UpstreamSpec("b", 2, 3))
    assert (got.timeouts.connect, got.timeouts.idle, got.limits.body_bytes) == (3.0, 0.5, 1 << 20)
    kinds = {".".join(path): origin.kind for path, origin in loaded.origins.items()}
    assert kinds == {
        "config": "environment",
        "timeouts.connect": "environment",
        "workers": "environment",
        "upstreams": "file",
        "timeouts.idle": "file",
        "limits.body_bytes": "file",
    }


def test_the_file_of_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams: a:1")
    loaded = load_with_origins({"BALANCER_CONFIG": "/nowhere.yaml"}, str(file))
    assert loaded.settings.config == str(file)
    assert loaded.origins["config",].where == "--config"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("BALANCER_SERVICE_HOST", "10.1.2.3", id="service_host"),
        pytest.param("BALANCER_SERVICE_PORT_HTTP", "8080", id="service_port"),
        pytest.param("BALANCER_PORT", "tcp://10.1.2.3:8080", id="port"),
        pytest.param("BALANCER_PORT_8080_TCP_ADDR", "10.1.2.3", id="port_address"),
        pytest.param("BALANCER_ADMIN_SERVICE_PORT", "9901", id="service_balancer_admin"),
        pytest.param("BALANCER_ADMIN_PORT", "tcp://10.1.2.3:9901", id="port_of_balancer_admin"),
        pytest.param("BALANCER_ADMIN_PORT_9901_TCP", "tcp://10.1.2.3:9901", id="link_of_balancer_admin"),
        pytest.param("OTHER_LISTEN", "x", id="other_prefix"),
    ],
)
def test_variables_injected_by_platforms_are_ignored(variable: str, value: str) -> None:
    assert load({**_UPSTREAMS, variable: value}) == load(_UPSTREAMS)


class _Policies:
    """Knows three policies: the default, `ring`, which hashes, and `by_client`, which has its own hash
    key."""

    def problem(self, name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
        if name not in ("least_connections", "ring", "by_client"):
            return "policy", "is not a policy"
        return ("policy_options", "is too much") if options else None

    def needs_key(self, name: str) -> bool:
        return name != "least_connections"

    def key_source(self, name: str) -> str | None:
        return "client_ip" if name == "by_client" else None


_NO_EFFECT = 'BALANCER_HASH_KEY: "path" has no effect: policy {}; remove it, or set POLICY to consistent_hash'


@pytest.mark.parametrize(
    ("policy", "problems"),
    [
        ("ring", []),
        ("least_connections", [_NO_EFFECT.format("least_connections does not hash")]),
        ("by_client", [_NO_EFFECT.format("by_client always hashes client_ip")]),
        ("fair", ['BALANCER_POLICY: "fair" is not a policy']),
    ],
    ids=["used", "unused", "overruled", "unknown_policy"],
)
def test_an_unused_hash_key_is_reported(policy: str, problems: list[str]) -> None:
    environ = {**_UPSTREAMS, "BALANCER_POLICY": policy, "BALANCER_HASH_KEY": "path"}
    if not problems:
        assert load(environ, policies=_Policies()).hash_key == "path"
        return
    with pytest.raises(SettingsError) as caught:
        load(environ, policies=_Policies())
    assert caught.value.problems == problems


def test_the_policy_is_checked_by_the_injected_registry() -> None:
    environ = {**_UPSTREAMS, "BALANCER_POLICY": "fair", "BALANCER_WORKERS": "x"}
    with pytest.raises(SettingsError) as caught:
        load(environ, policies=_Policies())
    assert caught.value.problems[1:] == ['BALANCER_POLICY: "fair" is not a policy']


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("policy: fair", 'policy: "fair" is not a policy'),
        ("policy_options: {choices: 2}", 'policy_options: {"choices": 2} is too much'),
    ],
    ids=["policy", "policy_options"],
)
def test_a_bad_policy_in_a_file_is_reported_with_its_position(
    tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"upstreams: a:1\n{line}")
    with pytest.raises(SettingsError) as caught:
        load({}, str(file), _Policies())
    assert caught.value.problems == [f"{file}: {problem}"]
