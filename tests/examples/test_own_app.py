"""examples/own_app: the compose file is sound. tests/e2e/test_5_own_app.py runs it, where there is Docker."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from balancer.config.loader import load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/own_app"
HARDENED = ("read_only", "cap_drop", "security_opt", "mem_limit", "stop_grace_period", "restart")


def _compose(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


EXAMPLE = _compose(FOLDER / "compose.yml")
BALANCER, WEB = EXAMPLE["services"]["balancer"], EXAMPLE["services"]["web"]


def test_the_settings_of_the_balancer_are_good() -> None:
    settings = load({name: str(value) for name, value in BALANCER["environment"].items()})
    assert settings.health_check.drain_status == 410
    assert [str(upstream) for upstream in settings.upstreams] == ["dns://web:8000"]


@pytest.mark.parametrize("key", HARDENED)
def test_the_balancer_is_as_hardened_as_in_the_main_compose_file(key: str) -> None:
    main = _compose(ROOT / "docker-compose.yml")["services"]["balancer"]
    assert BALANCER[key] == main[key]


def test_only_the_balancer_can_be_reached_from_outside() -> None:
    assert "ports" not in WEB
    assert WEB["networks"] == ["apps"]
    assert EXAMPLE["networks"]["apps"]["internal"] is True
    assert set(BALANCER["networks"]) == EXAMPLE["networks"].keys()


def test_what_is_mounted_exists() -> None:
    for volume in WEB["volumes"]:
        assert (FOLDER / volume.partition(":")[0]).is_file()
