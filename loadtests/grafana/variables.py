"""The variables at the top of the dashboards.

All of one are `.*`, so that a value that has appeared since the page was loaded is shown too.
"""

from loadtests.grafana.model import SOURCE, Json
from loadtests.grafana.queries import INSTANCE

_POOL = 'pool=~"$pool"'
_NO_WINDOW = 30 * 86400  # seconds: a query needs some window where none is promised

_UNSET: Json = {"selected": False, "text": "", "value": ""}  # Grafana takes the first

DATASOURCE: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "description": "The Prometheus that scrapes the balancers",
    "query": "prometheus",
    "regex": "",
    "hide": 0,
    "refresh": 1,
    "multi": False,
    "includeAll": False,
    "current": _UNSET,
    "options": [],
}


def several(name: str, label: str, says: str, query: str) -> Json:
    """Any number of values, all at first."""
    return {
        **_of_prometheus(name, label, says, query),
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def one(name: str, label: str, says: str, query: str, regex: str = "", descending: bool = False) -> Json:
    """One value, at first the first of all."""
    return {
        **_of_prometheus(name, label, says, query),
        "regex": regex,
        "sort": 2 if descending else 1,
        "multi": False,
        "includeAll": False,
        "current": _UNSET,
    }


def _of_prometheus(name: str, label: str, says: str, query: str) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": says,
        "datasource": SOURCE,
        "query": query,
        "regex": "",
        "hide": 0,
        "refresh": 2,  # when the time range changes, and when the page is loaded
        "sort": 1,
        "options": [],
    }


JOBS = several(
    "job",
    "Job",
    "Deployments, by the name of their job in Prometheus",
    "label_values(balancer_build_info, job)",
)
INSTANCES = several(
    "instance",
    "Instance",
    "Balancers, by the address at which Prometheus scrapes them",
    'label_values(balancer_build_info{job=~"$job"}, instance)',
)
COMMON = (DATASOURCE, JOBS, INSTANCES)
ROUTES = several(
    "route",
    "Route",
    "Routes of the settings",
    f"label_values(balancer_requests_inflight{{{INSTANCE}}}, route)",
)
POOLS = several(
    "pool",
    "Pool",
    "Upstream pools of the settings",
    f"label_values(balancer_pool_eligible_upstreams{{{INSTANCE}}}, pool)",
)
POOL = one(
    "pool",
    "Pool",
    "The upstream pool that is shown",
    f"label_values(balancer_pool_eligible_upstreams{{{INSTANCE}}}, pool)",
)
UPSTREAMS = several(
    "upstream",
    "Upstream",
    "Upstreams of the pool",
    f"label_values(balancer_upstream_up{{{INSTANCE}, {_POOL}}}, upstream)",
)
WINDOW = one(
    "window",
    "Window of the promises, s",
    "SLO__WINDOW: promises over this time are shown",
    f'query_result(count_values("seconds", balancer_slo_window_seconds{{{INSTANCE}}}'
    f" or vector({_NO_WINDOW})))",
    regex='/seconds="(\\d+)"/',
)
