"""PromQL in the words of the panels.

Each sums over the instances that are selected, unless it says otherwise. Rates are taken over Grafana's
`$__rate_interval`: at least four scrapes, and as long as a point of the graph.
"""

INSTANCE = 'job=~"$job", instance=~"$instance"'
ROUTE = f'{INSTANCE}, route=~"$route"'
POOL = f'{INSTANCE}, pool=~"$pool"'
UPSTREAM = f'{POOL}, upstream=~"$upstream"'
WORKER = INSTANCE
ERRORS = 'code=~"5.."'  # `5xx` stands for the codes from 500 on that have no series of their own

INTERVAL = "$__rate_interval"


def rate(metric: str, where: str, by: str = "", over: str = INTERVAL) -> str:
    """How often a counter counts, per second."""
    return f"sum{_by(by)} (rate({metric}{{{where}}}[{over}]))"


def increase(metric: str, where: str, by: str = "", over: str = INTERVAL) -> str:
    """How much a counter has counted in that time."""
    return f"sum{_by(by)} (increase({metric}{{{where}}}[{over}]))"


def total(metric: str, where: str, by: str = "") -> str:
    """A gauge, over all instances: requests in flight at both balancers."""
    return f"sum{_by(by)} ({metric}{{{where}}})"


def highest(metric: str, where: str, by: str = "") -> str:
    """A gauge at the instance where it is highest."""
    return f"max{_by(by)} ({metric}{{{where}}})"


def lowest(metric: str, where: str, by: str = "") -> str:
    """A gauge at the instance where it is lowest."""
    return f"min{_by(by)} ({metric}{{{where}}})"


def quantile(q: float, metric: str, where: str, by: str = "") -> str:
    """Of a histogram; no value while nothing is counted."""
    buckets = rate(f"{metric}_bucket", where, f"le, {by}" if by else "le")
    return f"histogram_quantile({q}, {buckets})"


def share(part: str, whole: str) -> str:
    """A part of a whole, from 0 to 1; no value while there is none."""
    return f"({part}) / ({whole} > 0)"


def share_of_all(parts: str, whole: str) -> str:
    """Each of several parts of one whole without labels."""
    return f"({parts}) / on () group_left () ({whole} > 0)"


def or_zero(expression: str, by: str, of: str) -> str:
    """0 for whatever `of` has series for, where the expression has no value."""
    return f"({expression} or on ({by}) 0 * {of})"


def occurring(expression: str, label: str) -> str:
    """Without what does not occur; a single 0 where nothing does."""
    return f'{expression} > 0 or on () label_replace(vector(0), "{label}", "none", "", "")'


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
