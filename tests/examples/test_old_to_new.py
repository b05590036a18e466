"""examples/old_to_new: the compose file is sound. tests/e2e/test_6_old_to_new.py runs it in containers."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from balancer.config.loader import load

ROOT = Path(__file__).parents[2]
HARDENED = ("read_only", "cap_drop", "security_opt", "mem_limit", "stop_grace_period", "restart")


def _compose(file: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return content


EXAMPLE = _compose("examples/old_to_new/compose.yml")
BALANCER = EXAMPLE["services"]["balancer"]


def test_the_settings_divide_the_users_90_to_10() -> None:
    variables = {name: str(value) for name, value in BALANCER["environment"].items() if value is not None}
    (route,) = load(variables).routes
    assert route.split is not None
    assert route.split.sides == {"stable": 90, "canary": 10}


@pytest.mark.parametrize("key", HARDENED)
def test_the_balancer_is_as_hardened_as_in_the_main_compose_file(key: str) -> None:
    assert BALANCER[key] == _compose("docker-compose.yml")["services"]["balancer"][key]


@pytest.mark.parametrize("service", ["stable", "canary"])
def test_only_the_balancer_can_be_reached_from_outside(service: str) -> None:
    app = EXAMPLE["services"][service]
    assert "ports" not in app
    assert app["networks"] == ["apps"]
    assert EXAMPLE["networks"]["apps"]["internal"] is True
