"""The settings as the admin API shows them (L1): plain data, without secrets, to whoever may read.

`balancer check` shows an operator his own settings; this is read over the network, so it masks more.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from balancer.config.catalogue import SETTINGS, key
from balancer.config.loader import Loaded
from balancer.config.types import MASK

_OPEN_FIELDS = frozenset(["accept", "host", "user-agent"])  # header fields that hold no secrets


@dataclass(frozen=True, slots=True)
class Exported:
    """The effective settings; nothing in it changes."""

    settings: dict[str, Any]  # the tree, as a settings file spells it
    origins: dict[str, str]  # "timeouts.connect" -> `default` or an `Origin.kind`
    yaml: str  # the tree as a settings file


def export(loaded: Loaded) -> Exported:
    """What may be shown of the settings."""
    tree = loaded.settings.model_dump(mode="json", exclude={"config"})
    tree["health_check"]["headers"] = {
        name: value if name.lower() in _OPEN_FIELDS else MASK
        for name, value in tree["health_check"]["headers"].items()
    }
    path, query, _ = tree["health_check"]["path"].partition("?")
    tree["health_check"]["path"] = f"{path}?{MASK}" if query else path
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        origin = loaded.origins.get(setting.path)
        if setting.path != ("config",):
            origins[key(setting.path)] = "default" if origin is None else origin.kind
    return Exported(tree, origins, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
