"""Grafana's dashboard JSON (schema version 39: Grafana 10.4 and later) out of a short form.

A panel says what it shows and in which unit; places and ids follow from the order. Its description says what
to make of a figure, not what it is called.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

WIDTH = 24  # columns of Grafana's grid
SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, BLUE, GREY, ORANGE = "green", "#EAB839", "red", "blue", "#8e8e8e", "orange"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and the name of its series; `now`: its last value only, `buckets`: those of a histogram."""

    expression: str
    legend: str = ""
    now: bool = False
    buckets: bool = False

    def json(self, ref: str) -> Json:
        return {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "format": "heatmap" if self.buckets else "time_series",
            "instant": self.now,
            "legendFormat": self.legend or "__auto",
            "range": not self.now,
            "refId": ref,
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """What one panel shows. `steps` are the values from which on it has another colour than `first`;
    `values` are names and colours of single values; `overrides` are properties of series, by the letter of
    their query or by a regular expression of their names; `empty` is shown where there is no value; `points`
    bounds the points in time, for kinds that cannot show many."""

    title: str
    says: str
    queries: Sequence[Query]
    unit: str
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    steps: Sequence[tuple[float, str]] = ()
    first: str = GREEN
    values: Mapping[float, tuple[str, str]] = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    overrides: Mapping[str, Json] = field(default_factory=dict)
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    colour: str = "palette-classic"
    empty: str = ""
    points: int = 0

    def json(self, number: int, x: int, y: int) -> Json:
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.says,
            "datasource": SOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [query.json(chr(ord("A") + index)) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": list(self._overrides())},
            "options": self.options,
        }
        return panel | ({"maxDataPoints": self.points} if self.points else {})

    def _defaults(self) -> Json:
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": self.colour},
            "mappings": self._mappings(),
            "thresholds": {
                "mode": "absolute",
                "steps": [
                    {"color": self.first, "value": None},
                    *({"color": colour, "value": value} for value, colour in self.steps),
                ],
            },
            "custom": self.custom,
        }
        named = {
            "min": self.least,
            "max": self.most,
            "decimals": self.decimals,
            "noValue": self.empty or None,
        }
        return defaults | {name: value for name, value in named.items() if value is not None}

    def _mappings(self) -> list[Json]:
        if not self.values:
            return []
        named = {
            f"{value:g}": {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(self.values.items())
        }
        return [{"type": "value", "options": named}]

    def _overrides(self) -> Iterator[Json]:
        for series, properties in self.overrides.items():
            yield {
                "matcher": {"id": "byRegexp" if series[0] == "/" else "byFrameRefID", "options": series},
                "properties": [{"id": name, "value": value} for name, value in properties.items()],
            }


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and its panels, from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A file of config/grafana/dashboards. Its uid never changes: links and bookmarks have it."""

    uid: str
    title: str
    says: str
    variables: Sequence[Json]
    rows: Sequence[Row]

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.says,
            "tags": ["balancer"],
            "editable": True,
            "graphTooltip": 1,
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "refresh": "10s",
            "schemaVersion": SCHEMA_VERSION,
            "templating": {"list": list(self.variables)},
            "annotations": {"list": []},
            "links": [_LINK],
            "panels": list(_placed(self.rows)),
        }


_LINK: Json = {
    "title": "balancer",
    "type": "dashboards",
    "tags": ["balancer"],
    "icon": "external link",
    "tooltip": "The other dashboards, for the same time and instances",
    "url": "",
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
}


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Panels line up from the left; one that does not fit begins a new line below the highest of its line."""
    number = y = 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            "panels": [],
        }
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            number += 1
            yield panel.json(number, x, y)
            x += panel.width
            height = max(height, panel.height)
        y += height
