"""The shipped configuration of Alertmanager: what follows from something worse is held back."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.alertmanager import alertmanager
from tests.fakes.instance import until
from tests.prometheus.rules import ROOT

pytestmark = pytest.mark.integration

SHIPPED = (ROOT / "config/alertmanager.yml").read_text("utf-8")
WEB = {"job": "balancer", "pool": "web"}


async def held_back(directory: Path, *alerts: dict[str, str]) -> set[str]:
    """Of these alerts, the names of those that nobody is told of."""
    async with (
        alertmanager(directory, SHIPPED, inhibits=True) as told,
        aiohttp.ClientSession(f"http://127.0.0.1:{told.port}") as session,
    ):
        body = [{"labels": labels} for labels in alerts]
        async with session.post("/api/v2/alerts", json=body) as response:
            assert response.status == 200
        found: list[dict[str, Any]] = []

        async def _are_judged() -> bool:
            async with session.get("/api/v2/alerts") as response:
                found[:] = await response.json()
            return len(found) == len(alerts) and all(one["status"]["state"] != "unprocessed" for one in found)

        await until(_are_judged)
    return {
        f"{one['labels']['alertname']} {one['labels'].get('pool', '')}".strip()
        for one in found
        if one["status"]["inhibitedBy"]
    }


def alert(name: str, severity: str = "warning", **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, **labels}


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        pytest.param(
            [alert("BalancerAbsent", "critical"), alert("BalancerDown", job="balancer", instance="a")],
            {"BalancerDown"},
            id="no_instance_answers",
        ),
        pytest.param(
            [
                alert("BalancerOverloaded", "critical", **WEB),
                alert("BalancerQueueRising", **WEB),
                alert("BalancerQueueRising", job="balancer", pool="api"),
            ],
            {"BalancerQueueRising web"},
            id="an_overloaded_pool_and_another_one",
        ),
        pytest.param(
            [
                alert("BalancerPanic", "critical", **WEB),
                alert("BalancerRetries", **WEB),
                alert("BalancerErrorBudgetBurn", "critical", route="web", window="1h", **WEB),
            ],
            {"BalancerRetries web"},
            id="what_follows_from_panic",
        ),
        pytest.param(
            [
                alert("BalancerErrorBudgetBurn", "critical", route="web", window="1h", **WEB),
                alert("BalancerErrorBudgetBurn", route="web", window="3d", **WEB),
                alert("BalancerErrorBudgetBurn", route="old", window="3d", job="balancer", pool="old"),
            ],
            {"BalancerErrorBudgetBurn web"},
            id="the_milder_one_of_the_same_route",
        ),
        pytest.param(
            [
                alert("BalancerEjectionsFlap", upstream="1", **WEB),
                alert("BalancerReloadFailed", instance="a"),
            ],
            set(),
            id="what_has_nothing_to_do_with_each_other",
        ),
    ],
)
async def test_held_back(tmp_path: Path, alerts: list[dict[str, str]], expected: set[str]) -> None:
    assert await held_back(tmp_path, *alerts) == expected
