"""The documentation of the settings agrees with the models."""

import re
from pathlib import Path

import pytest

from balancer.config.access_log import ACCESS_LOG_FIELDS
from balancer.config.catalogue import (
    BY_PATH,
    BY_VARIABLE,
    GROUPS,
    NOT_YET,
    POOLS,
    SETTINGS,
    own_path,
    variable,
)
from balancer.config.effective import as_yaml, effective
from balancer.config.loader import load, load_with_origins
from balancer.config.table import END, START, rewritten, table
from balancer.errors import OperatorError
from balancer.telemetry.log_line import FIELDS

_ROOT = Path(__file__).parents[2]
_ENVIRON = {
    "BALANCER_UPSTREAMS": "a:1,[::1]:2?weight=3",
    "BALANCER_WORKERS": "2",
    "BALANCER_POLICY_OPTIONS": '{"choices": 2}',
    "BALANCER_TIMEOUTS__CONNECT": "250ms",
    "BALANCER_LIMITS__BODY_BYTES": "64M",
    "BALANCER_ACCESS_LOG__FIELDS": "time,status",
    "BALANCER_TRUSTED_PROXIES": "10.0.0.0/8",
}


def test_table_in_the_docs_is_current() -> None:
    text = (_ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: python -m balancer.config.table docs/settings.md"


# Injected names, which the docs describe as ignored.
_NO_SETTINGS = re.compile(r"BALANCER_(SERVICE_\w*|PORT\w*|IMAGE)")


@pytest.mark.parametrize(
    "name", ["README.md", *sorted(str(each.relative_to(_ROOT)) for each in (_ROOT / "docs").rglob("*.md"))]
)
def test_every_variable_in_the_docs_is_a_setting(name: str) -> None:
    text = (_ROOT / name).read_text(encoding="utf-8")
    known = {*BY_VARIABLE, *(variable(group) for group in GROUPS), variable((POOLS,))}
    named = {match.rstrip("_") for match in re.findall(r"BALANCER_[A-Z0-9_]+", text)}
    unknown = {each for each in named - known if not _NO_SETTINGS.fullmatch(each)}
    assert {each for each in unknown if own_path(each) is None} == set()


@pytest.mark.parametrize(
    "text", ["", f"{START}\n", f"{END}\n{START}\n"], ids=["no_markers", "no_end", "wrong_order"]
)
def test_a_file_without_markers_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="the marker lines are missing"):
        rewritten(text)


def test_every_setting_has_a_row_and_a_meaning() -> None:
    *rows, pools = table().splitlines()[2:]
    assert pools.startswith("| `BALANCER_POOLS__<NAME>__...` |")
    assert len(rows) == len(SETTINGS)
    for setting, row in zip(SETTINGS, rows, strict=True):
        assert row.startswith(f"| `{setting.variable}` |")
        assert setting.field.description, setting.variable
        assert setting.field.description.endswith("."), setting.variable


def test_no_setting_is_both_implemented_and_planned() -> None:
    assert not NOT_YET & {*BY_PATH, *GROUPS}


def test_example_file_loads() -> None:
    settings = load({}, str(_ROOT / "config/balancer.example.yaml"))
    assert len(settings.upstreams) == 3


def test_commented_lines_of_the_example_are_the_defaults(tmp_path: Path) -> None:
    example = (_ROOT / "config/balancer.example.yaml").read_text(encoding="utf-8")
    lines = [line.replace("# ", "", 1) if _is_setting(line) else line for line in example.splitlines()]
    file = tmp_path / "all.yaml"
    file.write_text("\n".join(lines))
    example_settings = load({}, str(_ROOT / "config/balancer.example.yaml"))
    assert load({}, str(file)) == example_settings.model_copy(update={"config": str(file)})
    given = {
        path for path, origin in load_with_origins({}, str(file)).origins.items() if origin.kind == "file"
    }
    assert given == set(BY_PATH) - {("config",)}


def _is_setting(line: str) -> bool:
    key = line.strip().removeprefix("# ").partition(":")[0]
    return line.strip().startswith("# ") and key in {path[-1] for path in BY_PATH}


def test_exported_yaml_gives_the_same_settings(tmp_path: Path) -> None:
    settings = load(_ENVIRON)
    file = tmp_path / "exported.yaml"
    file.write_text(as_yaml(settings))
    assert load({}, str(file)) == settings.model_copy(update={"config": str(file)})


def test_possible_secrets_are_not_shown() -> None:
    environ = {
        **_ENVIRON,
        "BALANCER_HEALTH_CHECK__HEADERS": '{"Authorization": "Bearer s3cret"}',
        "BALANCER_HEALTH_CHECK__PATH": "/up?token=s3cret",
    }
    assert "s3cret" not in repr(effective(load_with_origins(environ)))


def test_effective_settings_are_shown_in_input_form() -> None:
    shown = {each.variable: (each.value, each.origin) for each in effective(load_with_origins(_ENVIRON))}
    assert len(shown) == len(SETTINGS)
    assert shown["BALANCER_UPSTREAMS"] == ("a:1, [::1]:2?weight=3", "environment")
    assert shown["BALANCER_TIMEOUTS__CONNECT"] == ("250ms", "environment")
    assert shown["BALANCER_POLICY_OPTIONS"] == ('{"choices": 2}', "environment")
    assert shown["BALANCER_LIMITS__HEADER_BYTES"] == ("64k", "default")
    assert shown["BALANCER_ACCESS_LOG__ENABLED"] == ("true", "default")
    assert shown["BALANCER_CONFIG"] == ("", "default")


def test_access_log_fields_are_those_of_telemetry() -> None:
    assert ACCESS_LOG_FIELDS == FIELDS
