"""The effective settings (L1): one line each with its origin, or the whole tree as YAML.

The lines are for people to read and pass on, so everything that may be secret is masked. The YAML is for use:
there only values declared as SecretStr are masked, as in every JSON dump.
"""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from balancer.config.catalogue import SETTINGS, Path
from balancer.config.loader import Loaded
from balancer.config.masking import masked
from balancer.config.settings import Settings


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as shown to the operator; `origin` is `default` or an `Origin.kind`."""

    path: Path
    variable: str
    value: str
    origin: str


def effective(loaded: Loaded) -> list[EffectiveSetting]:
    """Every setting, in the order of the models."""
    tree = masked(loaded.settings.model_dump(mode="json"))
    lines = []
    for setting in SETTINGS:
        origin = loaded.origins.get(setting.path)
        kind = "default" if origin is None else origin.kind
        value = shown(value_at(tree, setting.path))
        lines.append(EffectiveSetting(setting.path, setting.variable, value, kind))
    return lines


def as_yaml(settings: Settings) -> str:
    """The tree as a settings file that yields the same settings, except for masked secrets."""
    tree = settings.model_dump(mode="json", exclude={"config"})
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def value_at(tree: dict[str, Any], path: Path) -> Any:
    """The value at a path of a dumped tree."""
    value: Any = tree
    for part in path:
        value = value[part]
    return value


def shown(value: object) -> str:
    """A dumped value as written in a variable; "" for None and for an empty list."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
