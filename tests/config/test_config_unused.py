"""Settings without effect are reported; unused defaults are not."""

from pathlib import Path
from typing import Any

import pytest

from balancer.config.catalogue import BY_PATH, variable
from balancer.config.effective import as_yaml
from balancer.config.loader import load, load_with_origins
from balancer.config.settings import MOST_ENTITIES, OTHER_ENTITIES
from balancer.errors import SettingsError
from balancer.proxy.replay import MOST_KEPT
from balancer.telemetry.segment import ROWS

UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}
# A value other than the default for each setting of a group with a switch.
OTHERS = {
    "health_check": {
        "path": "/up", "interval": "3s", "timeout": "2s", "rise": "3", "fall": "3", "expect": "200",
        "body": "ok", "port": "81", "headers": '{"Host": "a"}', "drain_status": "503",
    },
    "outlier": {
        "consecutive_5xx": "6", "consecutive_failures": "6", "ejection_time": "20s",
        "max_ejection_time": "6m", "max_ejection_percent": "60",
    },
    "adaptive": {"min_limit": "2", "max_limit": "20"},
    "sticky": {
        "cookie": "pin", "secret": "s3cret", "max_age": "12h", "secure": "true", "http_only": "false",
        "same_site": "strict", "path": "/shop", "domain": "a.example",
    },
    "access_log": {"fields": "time", "format": "logfmt", "sample": "0.5"},
}  # fmt: skip


def warnings(**environ: str) -> list[str]:
    given = {f"BALANCER_{name}": value for name, value in environ.items()}
    return list(load_with_origins({**UPSTREAMS, **given}).warnings)


@pytest.mark.parametrize("group", OTHERS)
def test_every_setting_of_a_disabled_group_is_reported(group: str) -> None:
    named = {path[1] for path in BY_PATH if path[0] == group} - {"enabled", "app_cookie"}
    assert named == set(OTHERS[group])
    switch = {variable((group, "enabled")).removeprefix("BALANCER_"): "false"}
    for name, value in OTHERS[group].items():
        setting = variable((group, name))
        shown = "**********" if name in ("secret", "headers") else f'"{value}"'
        assert warnings(**switch, **{setting.removeprefix("BALANCER_"): value}) == [
            (
                f"{setting}: {shown} has no effect while {group.upper()}__ENABLED is false; set it to "
                "true, or remove this"
            )
        ]


TOTAL = "because TIMEOUTS__TOTAL (10s) is not longer; raise TIMEOUTS__TOTAL, or lower this"
RETRY = "while RETRY__MAX_ATTEMPTS is 1: nothing is sent again; raise it, or remove this"
IDLE = "while KEEPALIVE__MAX_IDLE is 0: no connection is kept; raise it, or remove this"
# The settings, the one of them without effect, the reason.
TOLD: dict[str, tuple[dict[str, str], str, str]] = {
    "statuses without retries": (
        {"RETRY__MAX_ATTEMPTS": "1", "RETRY__STATUSES": "503"}, "RETRY__STATUSES", RETRY,
    ),
    "a budget without retries": (
        {"RETRY__MAX_ATTEMPTS": "1", "RETRY__BUDGET_RATIO": "0.3"}, "RETRY__BUDGET_RATIO", RETRY,
    ),
    "a least budget without retries": (
        {"RETRY__MAX_ATTEMPTS": "1", "RETRY__BUDGET_MIN_PER_SECOND": "3"}, "RETRY__BUDGET_MIN_PER_SECOND",
        RETRY,
    ),
    "bodies kept without retries": (
        {"RETRY__MAX_ATTEMPTS": "1", "RETRY__REPLAY_BYTES": "1M"}, "RETRY__REPLAY_BYTES", RETRY,
    ),
    "statuses without methods": (
        {"RETRY__METHODS": "[]", "RETRY__STATUSES": "503"},
        "RETRY__STATUSES",
        "while RETRY__METHODS is empty: no answer lets a request go again; name methods, or remove this",
    ),
    "statuses without a budget": (
        {"RETRY__STATUSES": "503", "RETRY__BUDGET_RATIO": "0", "RETRY__BUDGET_MIN_PER_SECOND": "0"},
        "RETRY__STATUSES",
        "while RETRY__BUDGET_RATIO and RETRY__BUDGET_MIN_PER_SECOND are 0; raise one, or remove this",
    ),
    "an idle time of no connections": (
        {"KEEPALIVE__MAX_IDLE": "0", "KEEPALIVE__IDLE_TIMEOUT": "9s"}, "KEEPALIVE__IDLE_TIMEOUT", IDLE,
    ),
    "requests of no kept connection": (
        {"KEEPALIVE__MAX_IDLE": "0", "KEEPALIVE__MAX_REQUESTS": "9"}, "KEEPALIVE__MAX_REQUESTS", IDLE,
    ),
    "a lifetime of no connections": (
        {"KEEPALIVE__MAX_IDLE": "0", "KEEPALIVE__MAX_LIFETIME": "9s"}, "KEEPALIVE__MAX_LIFETIME", IDLE,
    ),
    "nothing to learn from": (
        {"KEEPALIVE__MAX_IDLE": "0", "KEEPALIVE__LEARN": "false"}, "KEEPALIVE__LEARN", IDLE,
    ),
    "idle for longer than it lives": (
        {"KEEPALIVE__MAX_LIFETIME": "10s", "KEEPALIVE__IDLE_TIMEOUT": "20s"},
        "KEEPALIVE__IDLE_TIMEOUT",
        "because KEEPALIVE__MAX_LIFETIME (10s) is not longer; raise KEEPALIVE__MAX_LIFETIME, or lower this",
    ),
    "a wait without a queue": (
        {"LIMITS__QUEUE_SIZE": "0", "LIMITS__QUEUE_TIMEOUT": "2s"},
        "LIMITS__QUEUE_TIMEOUT",
        "while LIMITS__QUEUE_SIZE is 0: no request waits; raise it, or remove this",
    ),
    "an adaptive limit above the cap": (
        {"LIMITS__MAX_INFLIGHT": "5", "ADAPTIVE__MAX_LIMIT": "100"},
        "ADAPTIVE__MAX_LIMIT",
        "because LIMITS__MAX_INFLIGHT is reached first; lower this, or remove it",
    ),
    "a least adaptive limit at the cap": (
        {"LIMITS__MAX_INFLIGHT": "5", "ADAPTIVE__MIN_LIMIT": "5"},
        "ADAPTIVE__MIN_LIMIT",
        "because LIMITS__MAX_INFLIGHT is reached first: no adaptive limit is ever in force; lower this",
    ),
    "panic without ejections": (
        {"PANIC": "off", "OUTLIER__ENABLED": "false", "HEALTH_CHECK__ENABLED": "false"},
        "PANIC",
        "while HEALTH_CHECK__ENABLED and OUTLIER__ENABLED are false: nothing is ejected; set one of them to "
        "true, or remove this",
    ),
    "fields of a format that has its own": (
        {"ACCESS_LOG__FORMAT": "combined", "ACCESS_LOG__FIELDS": "time"},
        "ACCESS_LOG__FIELDS",
        "while ACCESS_LOG__FORMAT is combined, which has its own fields; choose another one, or remove this",
    ),
    "a first byte after the end": (
        {"TIMEOUTS__TOTAL": "10s", "TIMEOUTS__FIRST_BYTE": "20s"}, "TIMEOUTS__FIRST_BYTE", TOTAL,
    ),
    "a connect after the end": (
        {"TIMEOUTS__TOTAL": "10s", "TIMEOUTS__CONNECT": "10s"}, "TIMEOUTS__CONNECT", TOTAL,
    ),
    "a wait beyond the end": (
        {"TIMEOUTS__TOTAL": "10s", "LIMITS__QUEUE_TIMEOUT": "30s"}, "LIMITS__QUEUE_TIMEOUT", TOTAL,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_settings_without_effect_are_reported(case: str) -> None:
    environ, setting, why = TOLD[case]
    assert warnings(**environ) == [f'BALANCER_{setting}: "{environ[setting]}" has no effect {why}']


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"TIMEOUTS__TOTAL": "10s"}, id="default timeouts beyond the total one"),
        pytest.param({"TIMEOUTS__TOTAL": "10s", "TIMEOUTS__IDLE": "20s"}, id="tunnels have no total timeout"),
        pytest.param({"TIMEOUTS__TOTAL": "10s", "TIMEOUTS__FIRST_BYTE": "0"}, id="turned off"),
        pytest.param(
            {"OUTLIER__ENABLED": "false", "OUTLIER__EJECTION_TIME": "10"}, id="the default, in words"
        ),
        pytest.param(
            {"RETRY__MAX_ATTEMPTS": "1", "RETRY__METHODS": "GET"}, id="methods define the safe requests"
        ),
        pytest.param({"LIMITS__MAX_INFLIGHT": "1"}, id="default limits above the cap"),
        pytest.param({"KEEPALIVE__MAX_IDLE": "0"}, id="default times of no connection"),
        pytest.param({"PANIC": "off", "OUTLIER__ENABLED": "false"}, id="checks eject"),
    ],
)
def test_settings_with_an_effect_or_unset_are_not_reported(environ: dict[str, str]) -> None:
    assert warnings(**environ) == []


def test_a_query_that_may_hold_a_secret_is_not_quoted() -> None:
    assert warnings(HEALTH_CHECK__ENABLED="false", HEALTH_CHECK__PATH="/up?token=s3cret") == [
        (
            'BALANCER_HEALTH_CHECK__PATH: "/up?**********" has no effect while HEALTH_CHECK__ENABLED '
            "is false; set it to true, or remove this"
        )
    ]


def test_defaults_repeated_by_an_exported_file_are_not_reported(tmp_path: Path) -> None:
    file = tmp_path / "exported.yaml"
    environ = {
        **UPSTREAMS,
        **{variable((group, "enabled")): "false" for group in OTHERS},
        "BALANCER_RETRY__MAX_ATTEMPTS": "1",
        "BALANCER_KEEPALIVE__MAX_IDLE": "0",
    }
    file.write_text(as_yaml(load(environ)))
    assert load_with_origins({}, str(file)).warnings == ()


def test_a_report_about_a_file_names_the_position(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams: a:1\ntimeouts: {total: 5, first_byte: 10}\n")
    assert load_with_origins({}, str(file)).warnings == (
        f'{file}: timeouts.first_byte: "10" has no effect because TIMEOUTS__TOTAL (5s) is not '
        "longer; raise TIMEOUTS__TOTAL, or lower this",
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"HEALTH_CHECK__EXPECT": "204", "HEALTH_CHECK__DRAIN_STATUS": "204"},
            (
                'HEALTH_CHECK__DRAIN_STATUS: "204" is the only status that passes: every upstream '
                "would be drained; let HEALTH_CHECK__EXPECT name the status of a healthy upstream"
            ),
        ),
        (
            {"HEALTH_CHECK__EXPECT": "100-199"},
            (
                'HEALTH_CHECK__EXPECT: "100-199" names only statuses below 200, which never end a '
                "check; write 200-399"
            ),
        ),
        ({"RETRY__REPLAY_BYTES": "1G"}, 'RETRY__REPLAY_BYTES: "1G" is too large; the maximum is 64M'),
        (
            {"HEALTH_CHECK__INTERVAL": "10ms"},
            'HEALTH_CHECK__INTERVAL: "10ms" is too small; the minimum is 100ms',
        ),
    ],
    ids=["drains all", "passes none", "more than is kept", "a bound in its unit"],
)
def test_settings_that_can_never_be_intended_are_refused(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        warnings(**environ)
    assert caught.value.problems == [f"BALANCER_{problem}"]


def test_bounds_in_the_settings_match_those_of_higher_layers() -> None:
    replay: Any = BY_PATH["retry", "replay_bytes"].field.metadata
    assert [each.le for each in replay if hasattr(each, "le")] == [MOST_KEPT]
    assert MOST_ENTITIES == ROWS
    assert len(("listener", "TLS listener", "pool", "route")) == OTHER_ENTITIES
