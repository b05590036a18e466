"""`python -m loadtests.grafana` writes the dashboards of config/grafana."""

import json
from pathlib import Path

from loadtests.grafana.itself import ITSELF
from loadtests.grafana.overview import OVERVIEW
from loadtests.grafana.pool import POOL_DASHBOARD
from loadtests.grafana.sides import SIDES

FOLDER = Path(__file__).parents[2] / "config/grafana/dashboards"
DASHBOARDS = (OVERVIEW, POOL_DASHBOARD, SIDES, ITSELF)


def files() -> dict[str, str]:
    """Their texts by the names of their files."""
    return {
        f"{one.uid.removeprefix('balancer-')}.json": json.dumps(one.json(), indent=1) + "\n"
        for one in DASHBOARDS
    }


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
