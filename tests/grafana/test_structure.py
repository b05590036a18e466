"""config/grafana: the committed files are those that loadtests.grafana makes, and Grafana can read them."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from loadtests.grafana.__main__ import FOLDER, files

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config/grafana"
SCHEMA = json.loads((Path(__file__).parent / "dashboard.schema.json").read_text(encoding="utf-8"))
FILES: dict[str, Any] = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
UIDS = ["balancer-itself", "balancer-overview", "balancer-pool", "balancer-sides"]
# Options of newer schemas than those of the types, which leave them out.
NEWER = {
    f"/panels/options/{name}"
    for name in (
        *("legend", "maxVizHeight", "namePlacement", "sizing"),
        *("percentChangeColorMode", "showPercentChange", "wideLayout"),
        "tooltip/mode",
    )
}
# Variables of Grafana's own.
BUILT_IN = {"__rate_interval"}

each = pytest.mark.parametrize("name", sorted(FILES))


def panels(name: str) -> list[Any]:
    """Those that are no rows."""
    return [panel for panel in FILES[name]["panels"] if panel["type"] != "row"]


def loaded(file: str) -> Any:
    return yaml.safe_load((CONFIG / file).read_text(encoding="utf-8"))


def test_the_committed_files_are_what_the_program_makes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == files(), "run: python -m loadtests.grafana"


def test_uids_stay() -> None:
    assert sorted(one["uid"] for one in FILES.values()) == UIDS


@each
def test_it_keeps_to_the_schema(name: str) -> None:
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(FILES[name])
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("unit", "requests"),
        ("color", {"mode": "rainbow"}),
        ("thresholds", {"mode": "absolute", "steps": []}),
        ("units", "s"),
    ],
)
def test_the_schema_refuses_what_grafana_does_not_know(path: str, value: object) -> None:
    broken = json.loads(json.dumps(FILES["overview"]))
    broken["panels"][1]["fieldConfig"]["defaults"][path] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@each
def test_grafanas_own_types_lose_nothing_of_it(name: str) -> None:
    plugins.register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(FILES[name])))
    assert set(lost(FILES[name], known)) <= NEWER


def lost(ours: Any, known: Any, path: str = "") -> Iterator[str]:
    """Paths of what is there in ours only, or has another value."""
    if isinstance(ours, dict) and isinstance(known, dict):
        for key, value in ours.items():
            yield from lost(value, known[key], f"{path}/{key}") if key in known else [f"{path}/{key}"]
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for value, other in zip(ours, known, strict=True):
            yield from lost(value, other, path)
    elif ours != known:
        yield path


@each
def test_ids_are_unique(name: str) -> None:
    ids = [panel["id"] for panel in FILES[name]["panels"]]
    assert sorted(set(ids)) == sorted(ids)


@each
def test_titles_are_unique(name: str) -> None:
    """Links to a panel, and what people say of it, go by its title and its row."""
    row, seen = "", set()
    for panel in FILES[name]["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        assert (row, panel["title"]) not in seen
        seen.add((row, panel["title"]))


@each
def test_panels_do_not_overlap_and_fit_the_grid(name: str) -> None:
    places = [panel["gridPos"] for panel in FILES[name]["panels"]]
    assert all(one["x"] + one["w"] <= 24 for one in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


@each
def test_lines_of_panels_are_full(name: str) -> None:
    widths: dict[int, int] = {}
    for panel in FILES[name]["panels"]:
        widths[panel["gridPos"]["y"]] = widths.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert {y: width for y, width in widths.items() if width not in (16, 24)} == {}


@each
def test_every_variable_is_defined_before_it_is_used(name: str) -> None:
    defined: set[str] = set()
    for variable in FILES[name]["templating"]["list"]:
        used = variables(variable["query"]) | variables(json.dumps(variable.get("datasource")))
        assert used <= defined, variable["name"]
        defined.add(variable["name"])
    assert variables(json.dumps(FILES[name]["panels"])) <= defined | BUILT_IN


def variables(text: str) -> set[str]:
    return {a or b for a, b in re.findall(r"\$(?:\{(\w+)\}|(\w+))", text)}


@each
def test_it_can_be_imported_as_it_is(name: str) -> None:
    """No `__inputs`, which only Grafana's import form asks for, and no id, which belongs to an instance."""
    assert not {"__inputs", "__requires", "id", "version"} & set(FILES[name])
    assert FILES[name]["templating"]["list"][0]["name"] == "datasource"


def test_all_of_them_fit_a_config_map() -> None:
    """Of Kubernetes, for the sidecar: 1 MiB."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1 << 20


@each
def test_rates_are_over_the_rate_interval_or_a_time_that_a_promise_names(name: str) -> None:
    text = json.dumps(panels(name))
    assert set(re.findall(r"\[([^\[\]\"{}]*)\](?=[)\s])", text)) <= {"$__rate_interval", "1h"}


@each
def test_every_metric_is_documented(name: str) -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(balancer_\w+)`", page, re.MULTILINE))
    used = set(re.findall(r"balancer_\w+", " ".join(t["expr"] for p in panels(name) for t in p["targets"])))
    used = {re.sub(r"_bucket$", "", metric) for metric in used}
    assert used - documented == set()


def test_compose_mounts_the_folders_where_the_files_say() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    grafana = services["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts == {
        "./config/grafana/datasources": "/etc/grafana/provisioning/datasources",
        "./config/grafana/providers": "/etc/grafana/provisioning/dashboards",
        "./config/grafana/dashboards": "/etc/grafana/dashboards",
    }
    (provider,) = loaded("providers/balancer.yml")["providers"]
    assert provider["options"]["path"] == mounts["./config/grafana/dashboards"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/overview.json"
    assert (FOLDER / "overview.json").exists()


def test_the_data_source_is_the_prometheus_of_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    (source,) = loaded("datasources/prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"] is True
    host, port = source["url"].removeprefix("http://").split(":")
    assert compose[host]["ports"][0].endswith(f":{port}}}:{port}")
    assert set(compose[host]["networks"]) & set(compose["grafana"]["networks"])


def test_visitors_of_grafana_may_only_look_and_only_from_this_machine() -> None:
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["grafana"]
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["ports"] == ["${PUBLISH_GRAFANA:-127.0.0.1:3000}:3000"]
    assert grafana["profiles"] == ["observability"]
