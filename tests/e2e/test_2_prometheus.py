"""Prometheus scrapes the balancer, its sums match Locust's counts, and it tells Alertmanager of alerts."""

import pytest

from tests.e2e.load import Load
from tests.e2e.stack import Stack, fetch, until

pytestmark = pytest.mark.e2e


def test_the_target_is_up(stack: Stack) -> None:
    ((labels, _),) = until("the target is up", lambda: stack.query('up{job="balancer"} == 1'))
    assert labels["instance"].endswith(":9901")


def test_the_shipped_rules_are_loaded_and_their_queries_work(stack: Stack) -> None:
    def healths() -> set[str]:
        groups = fetch(f"{stack.prometheus}/api/v1/rules")["data"]["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]}

    until("all rules evaluated", healths, lambda found: bool(found) and "unknown" not in found)
    assert healths() == {"ok"}


def test_it_has_found_alertmanager(stack: Stack) -> None:
    def found() -> list[str]:
        answer = fetch(f"{stack.prometheus}/api/v1/alertmanagers")
        return [one["url"] for one in answer["data"]["activeAlertmanagers"]]

    until("one Alertmanager", found, lambda urls: urls == ["http://alertmanager:9093/api/v2/alerts"])
    assert until("Alertmanager answers", lambda: fetch(f"{stack.alertmanager}/api/v2/status"))["config"]


def test_its_sums_match_those_of_locust(stack: Stack, load: Load) -> None:
    seen = load.end()
    counted = stack.responses()
    until(
        "a scrape since the load has ended",
        lambda: stack.query("sum(balancer_requests_total)"),
        lambda series: [value for _, value in series] == [counted.total()],
    )
    assert seen.requests > 1000
    # A request without a response is an error for Locust; for the balancer, a client that left is a 499.
    assert abs(counted.total() - seen.requests) <= seen.statuses["none"] + counted["499"]
    answered = {status: count for status, count in seen.statuses.items() if status != "none"}
    assert counted == {**answered, **({"499": counted["499"]} if counted["499"] else {})}
