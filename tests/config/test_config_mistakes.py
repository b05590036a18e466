"""Each mistake in the environment or a file is reported in one sentence with position, value and remedy."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer.config.catalogue import BY_PATH, NOT_YET
from balancer.config.loader import load
from balancer.errors import SettingsError

_UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}
_LATER = "not part of this version yet; remove it"
_NO_QUEUE = (
    "has no effect: no request waits without LIMITS__MAX_INFLIGHT or ADAPTIVE__ENABLED; set one of them"
)
_HASH_KEYS = "is not known; write client_ip, header:NAME, cookie:NAME, query:NAME or path"
_NOT_SETTINGS = "not settings; write lines such as upstreams: app1:8000, with a space after the name's colon"
_DURATIONS = "is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h, 1d"


def _typo(meant: str) -> str:
    return f"no such setting; did you mean {meant}?"


def _problems(environ: Mapping[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, str(file) if file else None)
    return caught.value.problems


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        pytest.param(
            "BALANCER_TIMEOUT__CONNECT", "2s", _typo("BALANCER_TIMEOUTS__CONNECT"), id="typo_in_the_group"
        ),
        pytest.param(
            "BALANCER_TIMEOUTS__CONECT", "2s", _typo("BALANCER_TIMEOUTS__CONNECT"), id="typo_in_the_name"
        ),
        pytest.param(
            "BALANCER_TIMEOUTS_CONNECT", "2s", _typo("BALANCER_TIMEOUTS__CONNECT"), id="one_underscore"
        ),
        pytest.param(
            "BALANCER_MAX_CONNECTIONS", "2", _typo("BALANCER_LIMITS__MAX_CONNECTIONS"), id="group_left_out"
        ),
        pytest.param("balancer_listen", "x", _typo("BALANCER_LISTEN"), id="lower_case"),
        pytest.param("BALANCER_POLICY__X", "1", _typo("BALANCER_POLICY"), id="below_a_setting"),
        pytest.param("BALANCER_XYZ", "1", "no such setting; remove it", id="unlike_anything"),
        pytest.param("BALANCER_XYZ", "", "no such setting; remove it", id="unknown_though_empty"),
        pytest.param("BALANCER_PORT", "8080", _typo("BALANCER_LISTEN"), id="port_not_by_kubernetes"),
        pytest.param(
            "BALANCER_TIMEOUTS",
            "2s",
            "is a group, not a setting; set one of its settings, for example BALANCER_TIMEOUTS__CONNECT",
            id="group",
        ),
        pytest.param("BALANCER_STUCK__ENABLED", "true", _LATER, id="later_group"),
        pytest.param("BALANCER_TLS__CERT", "a.pem", _typo("BALANCER_TLS__CERTIFICATES"), id="other_word"),
        pytest.param("BALANCER_HEDGE__PERCENTILE", "95", _LATER, id="later_setting"),
        pytest.param(
            "BALANCER_ADMIN_TOKN",
            "s3cret",
            _typo("BALANCER_ADMIN_TOKEN"),
            id="typo_of_a_secret_hides_its_value",
        ),
        pytest.param("BALANCER_WORKERS", "many", '"many" is not a whole number', id="workers"),
        pytest.param("BALANCER_WORKERS", "0", '"0" is too small; the minimum is 1', id="no_workers"),
        pytest.param(
            "BALANCER_WORKERS", "1000", '"1000" is too large; the maximum is 256', id="too_many_workers"
        ),
        pytest.param("BALANCER_LISTEN", "x", '"x" has no port; write 0.0.0.0:8080', id="listen"),
        pytest.param(
            "BALANCER_LIMITS__MAX_INFLIGHT", "-1", '"-1" is too small; the minimum is 0', id="negative_cap"
        ),
        pytest.param(
            "BALANCER_LIMITS__QUEUE_TIMEOUT",
            "0",
            '"0" is too small; the minimum is 10ms',
            id="no_wait_at_all",
        ),
        pytest.param(
            "BALANCER_UPSTREAMS", "app1:8000,app2", '"app2" has no port; write app2:8000', id="upstream"
        ),
        pytest.param(
            "BALANCER_UPSTREAMS",
            "a:1,a:1",
            '["a:1", "a:1"] names a:1 twice; for a larger share write a:1?weight=2',
            id="upstream_twice",
        ),
        pytest.param(
            "BALANCER_UPSTREAMS", " , ", "[] names no upstream; write app1:8000,app2:8000", id="no_upstream"
        ),
        pytest.param(
            "BALANCER_UPSTREAMS",
            "[a:1]",
            '"[a:1]" is not valid JSON; write a:1 or ["a:1"]',
            id="broken_json",
        ),
        pytest.param(
            "BALANCER_POLICY_OPTIONS", "[1]", "[1] is not a mapping of names to values", id="options"
        ),
        pytest.param("BALANCER_TIMEOUTS__IDLE", "fast", f'"fast" {_DURATIONS}', id="duration"),
        pytest.param(
            "BALANCER_LIMITS__URI_BYTES",
            "8kb",
            '"8kb" is not a size; write bytes (8192) or 8k, 64M, 1G (k = 1024)',
            id="size",
        ),
        pytest.param(
            "BALANCER_LIMITS__HEADER_BYTES", "1", '"1" is too small; the minimum is 256', id="head_too_small"
        ),
        pytest.param(
            "BALANCER_RETRY__MAX_ATTEMPTS", "0", '"0" is too small; the minimum is 1', id="attempts"
        ),
        pytest.param("BALANCER_KEEPALIVE__MAX_IDLE", "1.5", '"1.5" is not a whole number', id="fraction"),
        pytest.param(
            "BALANCER_TRUSTED_PROXIES",
            "10.0.0.0/8,lan",
            '"lan" is not a network; write 10.0.0.0/8, 192.168.1.7 or fd00::/8',
            id="network",
        ),
        pytest.param(
            "BALANCER_TRUSTED_PROXIES",
            "10.1.2.3/8",
            '"10.1.2.3/8" has bits set beyond its prefix; write 10.0.0.0/8',
            id="network_with_host_bits",
        ),
        pytest.param(
            "BALANCER_ACCESS_LOG__ENABLED",
            "maybe",
            '"maybe" is not a boolean; write true or false',
            id="bool",
        ),
        pytest.param(
            "BALANCER_ACCESS_LOG__FIELDS",
            "stat,time",
            '["stat", "time"] names an unknown field (stat); did you mean status?',
            id="field",
        ),
        pytest.param(
            "BALANCER_ACCESS_LOG__FIELDS",
            "time,time",
            '["time", "time"] names a field twice',
            id="field_twice",
        ),
        pytest.param(
            "BALANCER_ACCESS_LOG__FIELDS",
            "[]",
            "[] names no field; write all, or turn the log off with ACCESS_LOG__ENABLED=false",
            id="no_field",
        ),
        pytest.param("BALANCER_ACCESS_LOG__SAMPLE", "2", '"2" is too large; the maximum is 1', id="share"),
        pytest.param("BALANCER_ACCESS_LOG__SAMPLE", "nan", '"nan" is not a finite number', id="share_nan"),
        pytest.param(
            "BALANCER_LOG_LEVEL",
            "loud",
            "\"loud\" is not known; write 'debug', 'info', 'warning' or 'error'",
            id="log_level",
        ),
        pytest.param("BALANCER_PANIC", "maybe", '"maybe" is not a boolean; write true or false', id="switch"),
        pytest.param("BALANCER_HASH_KEY", "ip", f'"ip" {_HASH_KEYS}', id="hash_key"),
        pytest.param("BALANCER_HASH_KEY", "cookies:a", f'"cookies:a" {_HASH_KEYS}', id="hash_key_kind"),
        pytest.param(
            "BALANCER_HASH_KEY",
            "header:",
            '"header:" has no header name after the colon; write header:NAME',
            id="hash_key_without_name",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__PATH", "health", '"health" is not a path; write /health', id="check_path"
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__PATH",
            "/a b",
            '"/a b" has characters that a path cannot have; percent-encode them',
            id="check_path_with_space",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__EXPECT",
            "399-200",
            '"399-200" has a range that runs backwards (399-200); write 200-399',
            id="range_backwards",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__EXPECT",
            "200,ok",
            '"200,ok" has an item that is neither a status nor a range (ok); write 200-399 or 200,204',
            id="no_status",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__HEADERS",
            '{"Host x": "a"}',
            "********** has an invalid field name (Host x)",
            id="field_name",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__HEADERS",
            '{"Host": "a\\r\\nb"}',
            "********** has characters in Host that a header field cannot have",
            id="field_value",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__HEADERS",
            '{"Content-Length": "1"}',
            "********** has Content-Length, which the check sets itself; remove it",
            id="framing_field",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__HEADERS",
            '{"Host": "a", "X-A": "b", "Host": "c"}',
            '********** has the key "Host" twice; keep one of them',
            id="a field twice",
        ),
        pytest.param(
            "BALANCER_HEALTH_CHECK__DRAIN_STATUS",
            "99",
            '"99" is not a status; write one from 200 to 599, or 0 for none',
            id="drain_status",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_reported(variable: str, value: str, problem: str) -> None:
    assert _problems({**_UPSTREAMS, variable: value}) == [f"{variable}: {problem}"]


def test_missing_upstreams_are_reported_with_an_example() -> None:
    assert _problems({}) == [
        "BALANCER_UPSTREAMS: is not set; name your app replicas, "
        "for example BALANCER_UPSTREAMS=app1:8000,app2:8000"
    ]


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        pytest.param(
            {"BALANCER_LISTEN": "127.0.0.1:80", "BALANCER_ADMIN_LISTEN": "127.0.0.1:80"},
            'BALANCER_ADMIN_LISTEN: "127.0.0.1:80" has the same port as LISTEN (127.0.0.1:80); '
            "give one of them another port",
            id="both_set",
        ),
        pytest.param(
            {"BALANCER_LISTEN": "0.0.0.0:9901"},
            'BALANCER_ADMIN_LISTEN (the default): "127.0.0.1:9901" has the same port as LISTEN '
            "(0.0.0.0:9901); give one of them another port",
            id="the_default_of_the_other",
        ),
    ],
)
def test_listeners_on_one_port_are_refused(environ: dict[str, str], problem: str) -> None:
    assert _problems({**_UPSTREAMS, **environ}) == [problem]


_NEVER_414 = "a longer target would get 431, never 414; lower it, or raise LIMITS__HEADER_BYTES"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        pytest.param(
            {"BALANCER_LIMITS__URI_BYTES": "64k"},
            f'BALANCER_LIMITS__URI_BYTES: "64k" is not below LIMITS__HEADER_BYTES (64k): {_NEVER_414}',
            id="target_as_long_as_the_head",
        ),
        pytest.param(
            {"BALANCER_LIMITS__HEADER_BYTES": "4k"},
            'BALANCER_LIMITS__URI_BYTES (the default): "8k" is not below LIMITS__HEADER_BYTES (4k): '
            f"{_NEVER_414}",
            id="head_shorter_than_the_default_target",
        ),
        pytest.param(
            {"BALANCER_OUTLIER__EJECTION_TIME": "10m"},
            'BALANCER_OUTLIER__MAX_EJECTION_TIME (the default): "5m" is below OUTLIER__EJECTION_TIME (600 '
            "s): the first ejection would be the longest; raise it, or lower OUTLIER__EJECTION_TIME",
            id="first_ejection_longer_than_the_longest",
        ),
        pytest.param(
            {"BALANCER_LIMITS__MAX_CONNECTIONS": "3", "BALANCER_WORKERS": "4"},
            'BALANCER_LIMITS__MAX_CONNECTIONS: "3" is less than one for each of the 4 workers; '
            "raise it, or lower WORKERS",
            id="fewer_connections_than_workers",
        ),
        pytest.param(
            {"BALANCER_LIMITS__MAX_INFLIGHT": "3", "BALANCER_WORKERS": "4"},
            'BALANCER_LIMITS__MAX_INFLIGHT: "3" is less than one for each of the 4 workers; '
            "raise it, or lower WORKERS",
            id="a_cap_below_one_for_each_worker",
        ),
        pytest.param(
            {
                "BALANCER_LIMITS__MAX_INFLIGHT": "4",
                "BALANCER_LIMITS__QUEUE_SIZE": "3",
                "BALANCER_WORKERS": "4",
            },
            'BALANCER_LIMITS__QUEUE_SIZE: "3" is less than one for each of the 4 workers; '
            "raise it, or lower WORKERS",
            id="fewer_may_wait_than_workers",
        ),
        pytest.param(
            {"BALANCER_ADAPTIVE__ENABLED": "false", "BALANCER_LIMITS__QUEUE_SIZE": "10"},
            f'BALANCER_LIMITS__QUEUE_SIZE: "10" {_NO_QUEUE}',
            id="queue_without_a_limit",
        ),
        pytest.param(
            {"BALANCER_ADAPTIVE__ENABLED": "false", "BALANCER_LIMITS__QUEUE_TIMEOUT": "2s"},
            f'BALANCER_LIMITS__QUEUE_TIMEOUT: "2s" {_NO_QUEUE}',
            id="wait_without_a_limit",
        ),
        pytest.param(
            {"BALANCER_ADAPTIVE__MIN_LIMIT": "20", "BALANCER_ADAPTIVE__MAX_LIMIT": "10"},
            'BALANCER_ADAPTIVE__MAX_LIMIT: "10" is below ADAPTIVE__MIN_LIMIT (20); raise it, or lower '
            "ADAPTIVE__MIN_LIMIT",
            id="least_limit_above_the_most",
        ),
    ],
)
def test_incompatible_settings_are_refused(environ: dict[str, str], problem: str) -> None:
    assert _problems({**_UPSTREAMS, **environ}) == [problem]


def test_all_problems_are_reported_at_once() -> None:
    problems = _problems({"BALANCER_WORKERS": "x", "BALANCER_LIMITS__URI_BYTES": "x", "BALANCER_XYZ": "x"})
    assert [problem.partition(":")[0] for problem in problems] == [
        "BALANCER_XYZ",
        "BALANCER_WORKERS",
        "BALANCER_UPSTREAMS",
        "BALANCER_LIMITS__URI_BYTES",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(
            "timeouts: {conect: 1s}", f": timeouts.conect: {_typo('timeouts.connect')}", id="typo_in_a_group"
        ),
        pytest.param("timeout: {}", f": timeout: {_typo('timeouts')}", id="typo_of_a_group"),
        pytest.param("connect: 1s", f": connect: {_typo('timeouts.connect')}", id="group_left_out"),
        pytest.param("LISTEN: :80", f": LISTEN: {_typo('listen')}", id="upper_case"),
        pytest.param("8080: x", ": 8080: no such setting; remove it", id="number_as_key"),
        pytest.param("stuck: {enabled: true}", f": stuck: {_LATER}", id="later_group"),
        pytest.param("hedge: {percentile: 5}", f": hedge: {_LATER}", id="later_setting"),
        pytest.param("timeouts: {connect: fast}", f': timeouts.connect: "fast" {_DURATIONS}', id="duration"),
        pytest.param(
            "timeouts: 5",
            ": timeouts: is a group, not a setting; write its settings indented below it",
            id="group_with_a_value",
        ),
        pytest.param("policy:", ": policy: has no value; give it one or remove the line", id="no_value"),
        pytest.param("policy: [3]", ': policy: ["3"] is not text; put it in quotes', id="list_as_text"),
        pytest.param("workers: true", ': workers: "true" is not a whole number', id="bool_as_number"),
        pytest.param(
            "trusted_proxies: {a: 5}",
            ': trusted_proxies: {"a": "5"} is not a list; write a,b or [a, b]',
            id="no_list",
        ),
        pytest.param(
            "upstreams: [app: 80]",
            ': upstreams: {"app": "80"} is a mapping; write each upstream as one '
            "string: app1:8000, no space after the colon",
            id="upstream_with_a_space",
        ),
        pytest.param(
            "config: x",
            ": config: cannot be set in the file itself; use BALANCER_CONFIG",
            id="config_in_config",
        ),
        pytest.param(
            "a: [",
            ", line 1: is not valid YAML (expected the node content, but found '<stream end>'); "
            "something is missing at the end: a bracket, or the settings themselves",
            id="broken_yaml",
        ),
        pytest.param(
            "policy: a\npolicy: b",
            ", line 2: is not valid YAML (the key policy is given twice); keep one of them",
            id="key_twice",
        ),
        pytest.param("- a:1", f": holds a list, {_NOT_SETTINGS}", id="list"),
        pytest.param(
            "a:1",
            f": holds a single value, {_NOT_SETTINGS}",
            id="single_value",
        ),
    ],
)
def test_a_mistake_in_the_file_is_reported(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    assert _problems({} if "upstreams" in content else _UPSTREAMS, file) == [f"{file}{problem}"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.yaml", "no such file or directory"), ("", "is a directory")],
    ids=["missing", "folder"],
)
def test_an_unreadable_file_is_the_only_problem_reported(tmp_path: Path, name: str, reason: str) -> None:
    file = str(tmp_path / name)
    expected = f'BALANCER_CONFIG: "{file}" cannot be read ({reason}); correct the path or mount the file'
    assert _problems({"BALANCER_CONFIG": file}) == [expected]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | st.text(alphabet="&*!|>-:[]{}?#%@,'\" \n\tab01<").map(str.encode)
    | st.dictionaries(
        st.sampled_from([path[0] for path in (*BY_PATH, *NOT_YET)]) | st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from([path[-1] for path in BY_PATH]) | st.text(), inner)
            ),
        ),
    ).map(lambda tree: yaml.safe_dump(tree).encode())
)
def test_any_file_gives_settings_or_error_sentences(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(content)
    problems = []
    try:
        load(_UPSTREAMS, str(file))
    except SettingsError as error:
        problems = error.problems
    assert all(problem.startswith((str(file), "BALANCER_")) for problem in problems)
    assert all(problem.isprintable() for problem in problems)


def test_deep_nesting_does_not_crash(tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text("[" * 600)
    assert "is not valid YAML" in _problems(_UPSTREAMS, file)[0]
