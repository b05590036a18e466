"""The kinds of panels: lines, one number, states over time, a heat map."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.grafana.model import GREEN, GREY, RED, YELLOW, Json, Panel, Query

_TOOLTIP = {"mode": "multi", "sort": "desc"}
_LEGEND = {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True}
DASHED: Json = {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0}

# Codes of the state of an upstream: the higher, the more urgent, and what an operator chose is highest.
STATES = {
    "active": (1, "serves", GREEN),
    "probation": (2, "on trial", YELLOW),
    "unchecked": (3, "not yet checked", GREY),
    "ejected": (4, "ejected", RED),
    "draining": (5, "draining", "blue"),
    "maintenance": (6, "maintenance", "purple"),
}
NAMED_STATES: Mapping[float, tuple[str, str]] = {
    code: (text, colour) for code, text, colour in STATES.values()
}
YES_OR_NO: Mapping[float, tuple[str, str]] = {0: ("no", GREEN), 1: ("yes", RED)}


def lines(title: str, says: str, unit: str, *queries: Query, stacked: bool = False, **more: Any) -> Panel:
    """Graphs from 0 on."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {"legend": _LEGEND, "tooltip": _TOOLTIP}
    return Panel(title, says, queries, unit, custom=custom, options=options, **{"least": 0, **more})


def number(title: str, says: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """The last value, coloured by its steps."""
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "wideLayout": True,
    }
    size = {"width": 4, "height": 4, "colour": "thresholds"}
    return Panel(title, says, queries, unit, kind="stat", options=options, **{**size, **more})


def bars(title: str, says: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """The last value of each series as a bar."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
        "legend": {**_LEGEND, "calcs": [], "displayMode": "list", "showLegend": False},
        "namePlacement": "auto",
        "sizing": "auto",
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "minVizWidth": 8,
    }
    return Panel(
        title, says, queries, unit, kind="bargauge", options=options, **{"colour": "thresholds", **more}
    )


def timeline(
    title: str, says: str, values: Mapping[float, tuple[str, str]], *queries: Query, **more: Any
) -> Panel:
    """A band for each series, whose colour and text are those of its value."""
    options = {
        "alignValue": "left",
        "legend": {**_LEGEND, "calcs": [], "displayMode": "list"},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "auto",
        "tooltip": {**_TOOLTIP, "mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return Panel(
        title,
        says,
        queries,
        "none",
        kind="state-timeline",
        options=options,
        custom=custom,
        values=values,
        **{"colour": "thresholds", **more},
    )


def history(title: str, says: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """A row of cells for each series, the higher its value the redder."""
    options = {
        "colWidth": 0.95,
        "legend": {**_LEGEND, "calcs": [], "displayMode": "list", "showLegend": False},
        "rowHeight": 0.9,
        "showValue": "never",
        "tooltip": {**_TOOLTIP, "mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 90, "lineWidth": 0}
    return Panel(
        title,
        says,
        queries,
        unit,
        kind="status-history",
        options=options,
        custom=custom,
        colour="continuous-GrYlRd",
        points=60,
        **more,
    )


def heatmap(title: str, says: str, unit: str, query: Query, **more: Any) -> Panel:
    """A histogram over time: the more requests in a bucket, the darker."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return Panel(title, says, [query], unit, kind="heatmap", options=options, points=120, **more)


def state_of_upstreams(where: str, by: str) -> str:
    """The code of each upstream's state, at the instance where it is most urgent."""
    parts: Sequence[str] = [
        f'{code} * balancer_upstream_state{{{where}, state="{state}"}}'
        for state, (code, _, _) in STATES.items()
    ]
    return f"max by ({by}) ({' or '.join(parts)})"
