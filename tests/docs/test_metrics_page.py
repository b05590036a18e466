"""Every metric of docs/metrics.md is on a dashboard of Grafana, or is known not to be."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PANELS = "".join(path.read_text("utf-8") for path in (ROOT / "config/grafana/dashboards").glob("*.json"))
NOT_SHOWN = {
    "balancer_tls_certificate_not_before_seconds",  # alerts reckon with it; people want to know the end
}


def test_a_metric_that_is_documented_is_on_a_dashboard() -> None:
    page = (ROOT / "docs/metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(balancer_\w+)`", page, re.MULTILINE))
    shown = {re.sub("_bucket$", "", name) for name in re.findall(r"balancer_[a-z_]+", PANELS)}
    missing = documented - shown - NOT_SHOWN
    assert not missing, "put it into a panel of loadtests/grafana, or into the list above"
    assert documented > NOT_SHOWN
