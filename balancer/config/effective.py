"""The effective settings (L1): one line each with its origin, or the whole tree as YAML.

The lines are for people to read and pass on, so everything that may be secret is masked. The YAML is for use:
there only values declared as SecretStr are masked, as in every JSON dump.
"""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from balancer.config.catalogue import POOL_SETTINGS, POOLS, SETTINGS, Path, variable
from balancer.config.loader import Loaded
from balancer.config.masking import masked
from balancer.config.settings import Settings
from balancer.config.shares import in_short


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as shown to the operator; `origin` is `default` or an `Origin.kind`."""

    path: Path
    variable: str
    value: str
    origin: str


def effective(loaded: Loaded) -> list[EffectiveSetting]:
    """Every setting, in the order of the models, and what pools set themselves."""
    tree = masked(loaded.settings.model_dump(mode="json"))
    lines = []
    for setting in SETTINGS:
        origin = loaded.origins.get(setting.path)
        kind = "default" if origin is None else origin.kind
        value = shown(value_at(tree, setting.path))
        lines.append(EffectiveSetting(setting.path, setting.variable, value, kind))
    for name in loaded.settings.pools:
        for own in POOL_SETTINGS:
            path = (POOLS, name, *own)
            if (origin := loaded.origins.get(path)) is not None:
                value = shown(value_at(tree, path))
                lines.append(EffectiveSetting(path, variable(path), value, origin.kind))
    return lines


def as_yaml(settings: Settings) -> str:
    """The tree as a settings file that yields the same settings, except for masked secrets."""
    tree = settings.model_dump(mode="json", exclude={"config"})
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _item(value: object) -> str:
    """A route in the short form, if it has one, else as JSON; other items as text."""
    if not isinstance(value, dict):
        return str(value)
    match = value.get("match", {})
    hosts, paths = match.get("host", [""]), match.get("path_prefix", [""])
    split = value.get("split")
    if isinstance(split, dict) and split.keys() == {"sides"}:
        value = {**value, "pool": in_short(split["sides"])}
    is_short = (
        value.keys() <= {"name", "match", "pool", "split"}
        and "pool" in value
        and match.keys() <= {"host", "path_prefix"}
    )
    if is_short and len(hosts) == len(paths) == 1 and hosts[0] + paths[0]:
        return f"{hosts[0]}{paths[0]}={value['pool']}"
    return json.dumps(value, ensure_ascii=False)


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
        return ", ".join(_item(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
